declare const TKADM_VERSION: string | undefined;
declare const TKADM_KUBERNETES_VERSION: string | undefined;

/** Version of this package; "0.0.0-dev" when run from the sources. */
export const VERSION: string = typeof TKADM_VERSION === 'string' ? TKADM_VERSION : '0.0.0-dev';

/** The Kubernetes version whose API the embedded components serve. */
export const KUBERNETES_VERSION: string =
  typeof TKADM_KUBERNETES_VERSION === 'string' ? TKADM_KUBERNETES_VERSION : 'v1.36.2';
