import { request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { formatError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  adviceFinding,
  type Check,
  errorFinding,
  type Finding,
  JOINS,
  NODES,
  noteFinding,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { readScript } from '../observer.ts';
import { formatProcess, listProcesses } from '../processes.ts';

const REQUEST_TIMEOUT_MS = 3_000;
/** Beyond this, certificates and tokens that were just made are not valid yet, or not any more. */
const ERROR_SKEW_MS = 60_000;
const WARNING_SKEW_MS = 5_000;

/** Programs that set the clock. */
const CLOCK_PROGRAMS = ['chronyd', 'ntpd', 'openntpd', 'systemd-timesyn', 'ptp4l', 'phc2sys'];

/**
 * Whether the clock is set by others, in the words of whoever knows: the kernel (adjtimex(2) by its number,
 * flag STA_UNSYNC 0x40 of `status`, the sixth field of struct timex), else systemd, else chrony, else ntpd.
 */
const SCRIPT = `case $(uname -m) in x86_64) n=159 ;; aarch64|riscv64|loongarch64) n=171 ;; *) n= ;; esac
if [ -n "$n" ] && command -v perl >/dev/null; then
  perl -e '$b = pack("x256"); $r = syscall($ARGV[0], $b); exit 1 if $r < 0; @f = unpack("l x4 q q q q l", $b);
    printf "adjtimex %s says status 0x%x, greatest error %d us\\n", ($f[5] & 64 ? "no" : "yes"), $f[5], $f[3];' $n && exit
fi
if [ -d /run/systemd/system ]; then
  v=$(timedatectl show --property=NTPSynchronized --value 2>/dev/null) && [ -n "$v" ] && echo "timedatectl $v says NTPSynchronized=$v" && exit
fi
if command -v chronyc >/dev/null; then
  v=$(chronyc -n tracking 2>/dev/null | sed -n 's/^Leap status *: *//p')
  [ "$v" = "Not synchronised" ] && echo "chronyc no says: $v" && exit
  [ -n "$v" ] && echo "chronyc yes says: $v" && exit
fi
if command -v ntpq >/dev/null; then
  v=$(ntpq -c rv 2>/dev/null | head -n 1)
  case $v in *sync_unspec*|*leap_alarm*) echo "ntpq no says: $v" ;; ?*) echo "ntpq yes says: $v" ;; esac
fi`;

/** Clocks: certificates and tokens fail in odd ways when they differ. */
export const TIME_CHECKS: readonly Check[] = [
  {
    name: 'TimeSync',
    scopes: NODES,
    severity: 'warning',
    looksAt: 'whether the clock is kept right: the kernel (adjtimex), timedatectl, chronyc or ntpq',
    observe: observeTimeSync,
  },
  {
    name: 'ClockSkew',
    scopes: JOINS,
    severity: 'error',
    looksAt: "this machine's clock against the API server's: its Date header and its certificate's validity",
    observe: observeClockSkew,
  },
];

async function observeTimeSync(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const [text, processes] = await Promise.all([readScript(host, SCRIPT), listProcesses(host)]);
  const clocks = processes.filter((row) => CLOCK_PROGRAMS.includes(row.name));
  const [, source = '', answer = '', said = ''] = /^(\S+) (\S+) (.*)/.exec(text.trim()) ?? [];
  if (answer === 'yes') return [];
  const running = clocks.length === 0 ? 'no program that sets it runs' : clocks.map(formatProcess).join(', ');
  const evidence = `${source === '' ? 'nothing here tells' : `${source} ${said}`}; ${running}`;
  const fix = (await host.stat('/run/systemd/system'))
    ? 'timedatectl set-ntp true'
    : 'apt-get install -y chrony';
  return [
    adviceFinding(
      input,
      warningFinding(
        'TimeSync',
        'the clock is not synchronised: certificates and tokens depend on it',
        evidence,
        fix,
      ),
    ),
  ];
}

async function observeClockSkew(host: Host, { apiServer }: PreflightInput): Promise<Observation> {
  if (apiServer === undefined) return undefined;
  const answer = await askForTime(apiServer).catch((error) => formatError(error));
  if (typeof answer === 'string') {
    return [noteFinding('ClockSkew', 'the clocks were not compared', `https://${apiServer}: ${answer}`)];
  }
  const { stdout } = await host.run(['date', '+%s']);
  const ownMs = Number(stdout.trim()) * 1000;
  // A Date header has whole seconds, and so has date(1).
  const skewMs = ownMs - answer.dateMs;
  const isEarly = ownMs < answer.notBeforeMs;
  if (Math.abs(skewMs) < WARNING_SKEW_MS && !isEarly) return [];
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const evidence =
    `here it is ${new Date(ownMs).toISOString()}, at the API server ${new Date(answer.dateMs).toISOString()}` +
    (isEarly ? `; its certificate is valid from ${new Date(answer.notBeforeMs).toISOString()}` : '');
  const reason = `this machine's clock is ${seconds} s ${skewMs < 0 ? 'behind' : 'ahead of'} the API server's`;
  const make = isEarly || Math.abs(skewMs) >= ERROR_SKEW_MS ? errorFinding : warningFinding;
  return [make('ClockSkew', reason, evidence, `date -u -s '${new Date(answer.dateMs).toISOString()}'`)];
}

interface ServerTime {
  readonly dateMs: number;
  readonly notBeforeMs: number;
}

/** The time of an API server that need not be trusted for it: nothing but the question is sent. */
function askForTime(apiServer: string): Promise<ServerTime> {
  return new Promise((resolve, reject) => {
    const asking = request(`https://${apiServer}/version`, {
      agent: false,
      rejectUnauthorized: false,
      timeout: REQUEST_TIMEOUT_MS,
    });
    asking.on('response', (response) => {
      const certificate = (response.socket as TLSSocket).getPeerCertificate();
      const dateMs = Date.parse(response.headers.date ?? '');
      response.destroy();
      if (Number.isNaN(dateMs)) reject(new Error('its answer has no date'));
      else resolve({ dateMs, notBeforeMs: Date.parse(certificate.valid_from) });
    });
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
    asking.on('error', reject);
    asking.end();
  });
}
