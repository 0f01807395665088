/** Command lines that help shows below the flags, by command. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  init: [
    'tkadm init --fix',
    'tkadm init --config cluster.yaml --dry-run',
    'tkadm init --pod-network-cidr 10.10.0.0/16 --node-name cp -o json',
  ],
  join: [
    'tkadm join root@10.0.0.6 root@10.0.0.7',
    'tkadm join 10.0.0.5:6443 --token TOKEN --discovery-token-ca-cert-hash sha256:HEX',
    'tkadm join --discovery-file https://example.com/cluster.conf --tls-bootstrap-token TOKEN',
  ],
  apply: [
    'tkadm apply --print-example > cluster.yaml',
    'tkadm apply -f cluster.yaml --plan',
    'tkadm apply -f cluster.yaml --prune',
  ],
  reset: ['tkadm reset --dry-run', 'tkadm reset -f'],
  'upgrade plan': ['tkadm upgrade plan', 'tkadm upgrade plan -o json'],
  'upgrade diff': ['tkadm upgrade diff', 'tkadm upgrade diff --patches /root/patches -c 0'],
  'upgrade apply': ['tkadm upgrade apply', 'tkadm upgrade apply v1.36.2 -y --patches /root/patches'],
  'upgrade node': ['tkadm upgrade node', 'tkadm upgrade node root@10.0.0.6 root@10.0.0.7'],
  'token create': [
    'tkadm token create --print-join-command',
    'tkadm token create --ttl 2h --description "for the rack in the cellar" -o json',
  ],
  'token list': ['tkadm token list', 'tkadm token list -o json | jq -r .token'],
  'token delete': ['tkadm token delete abcdef'],
  'config validate': ['tkadm config validate --config cluster.yaml'],
  'config migrate': ['tkadm config migrate --old-config old.yaml --new-config new.yaml'],
  'certs renew': ['tkadm certs renew all', 'tkadm certs renew apiserver'],
  'image build': ['tkadm image build . -t shop/web:1 --build-arg VERSION=2'],
  'image load': ['tkadm image load -i web.tar', 'docker save shop/web:1 | tkadm image load -i -'],
  why: ['tkadm why', 'tkadm why node/worker1', 'tkadm why pod/shop/web-0 -o json'],
  status: ['tkadm status', 'tkadm status -w'],
  completion: ['source <(tkadm completion bash)', 'tkadm completion zsh > ~/.tkadm.zsh'],
};
