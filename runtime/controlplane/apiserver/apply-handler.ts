import type { KubeObject } from '../../api/kinds.ts';
import { formatApiVersion } from '../../api/resources.ts';
import { checkIssues, decodeBody, readBody } from './body.ts';
import { addWarnings, type Call } from './call.ts';
import { convertIn, convertOut } from './conversions.ts';
import type { Written } from './registry.ts';
import { isTrue } from './routes.ts';
import { badRequest, invalid } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import { targetOf, type WriteDependencies } from './write-handlers.ts';

/** Merges an applied configuration into the live object (undefined: there is none) and tracks field owners. */
export type ApplyFunction = (
  live: KubeObject | undefined,
  applied: KubeObject,
  options: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly fieldManager: string;
    readonly isForced: boolean;
    readonly subresource: string;
    readonly now: Date;
  },
) => KubeObject;

/** PATCH with `application/apply-patch+yaml`: server-side apply, which creates what is absent. */
export async function applyObject(
  dependencies: WriteDependencies & { readonly loadApply: () => Promise<ApplyFunction> },
  call: Call,
): Promise<Written> {
  const { name, query, subresource } = call.info;
  const fieldManager = query.get('fieldManager') ?? '';
  if (fieldManager === '') {
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [
      {
        reason: 'FieldValueRequired',
        message: 'Required value: is required for apply patch',
        field: 'fieldManager',
      },
    ]);
  }
  const applied = await readApplied(dependencies, call);
  if (applied.metadata?.name !== name) {
    throw badRequest(
      `the name of the object (${applied.metadata?.name ?? ''}) does not match the name on the URL (${name})`,
    );
  }
  const apply = await dependencies.loadApply();
  return dependencies.registry.update(targetOf(call), {
    isConditional: false,
    canCreate: subresource === '',
    change: (current) => {
      const live = current.metadata ? (convertOut(call.row)?.(current) ?? current) : undefined;
      const merged = apply(live, structuredClone(applied), {
        apiVersion: formatApiVersion(call.row),
        kind: call.row.kind,
        fieldManager,
        isForced: isTrue(query.get('force')),
        subresource,
        now: dependencies.registry.now(),
      });
      return (convertIn(call.row)?.(merged) ?? merged) as AnyObject;
    },
  });
}

async function readApplied(dependencies: WriteDependencies, call: Call): Promise<AnyObject> {
  const body = await readBody(call.request);
  const expected = { apiVersion: formatApiVersion(call.row), kind: call.row.kind, reportDuplicates: true };
  const { object, issues } = await decodeBody(dependencies.codec, body, 'application/yaml', expected);
  if (object.kind !== expected.kind || object.apiVersion !== expected.apiVersion) {
    throw badRequest(`invalid object type: ${object.apiVersion}, Kind=${object.kind}`);
  }
  addWarnings(call.response, checkIssues(issues, call.info.query));
  return object as AnyObject;
}
