import { randomInt } from 'node:crypto';

const QUALITIES = (
  'able amber bold brave brisk calm clear clever crisp eager early fair fast fine fond free fresh gentle glad golden ' +
  'grand green happy keen kind late lively loyal lucid mellow merry mild neat noble open plain proud quick quiet rapid ' +
  'ready silent smart smooth snug solid steady sunny swift tidy true vivid warm wide wise witty young zesty'
).split(' ');
const THINGS = (
  'acorn alder anchor anvil apple arrow aspen badger basin beacon birch brook cedar cliff clover comet cove crane creek ' +
  'dune eagle ember falcon fern finch fjord forest garden glacier grove harbor hazel heron island kestrel lagoon lantern ' +
  'larch lark lynx maple marsh meadow mill moss oak orchard otter owl pebble pine plover pond quarry raven reef ridge ' +
  'river robin sail sparrow spruce stone swan thistle tide valley walnut willow wren'
).split(' ');
const TRIES = 20;

/** A name for a container that was given none, "quiet_heron"; with a number when many are taken. */
export function inventName(isTaken: (name: string) => boolean): string {
  const pick = (words: readonly string[]) => words[randomInt(words.length)]!;
  for (let tries = 0; ; tries += 1) {
    const name = `${pick(QUALITIES)}_${pick(THINGS)}${tries < TRIES ? '' : randomInt(1000)}`;
    if (!isTaken(name)) return name;
  }
}
