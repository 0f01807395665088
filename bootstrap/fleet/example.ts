/** A file for `tkadm apply` with every field, to begin with. */
export const EXAMPLE_CLUSTER = `# All machines of one cluster: tkadm apply -f cluster.yaml --plan; then without --plan.
apiVersion: tkadm.io/v1alpha1
kind: Cluster
metadata:
  name: prod                         # the kubeconfig is kept in prod.kubeconfig
spec:
  ssh:                               # for all hosts; groups and hosts may say otherwise
    user: admin                      # default: ssh_config's, else root
    identityFile: ~/.ssh/id_ed25519  # what is relative is beside this file
    hostKeys: accept-new             # or strict, ask: of keys that known_hosts does not hold
    become: auto                     # or sudo, doas, none
  groups:
    edge:
      role: worker
      labels: {example.com/place: edge}
      taints: [{key: example.com/edge, effect: NoSchedule}]
      ssh: {jump: bastion.example.com, port: 2222}
      interface: eth1                # the node's address is that of this interface
  hosts:
    - address: 10.0.0.11
      role: control-plane
      nodeName: cp                   # default: the machine's own name
      nodeIP: 10.0.0.11              # default: that of the way out
      ssh:
        hostKeyFingerprint: SHA256:AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG
    - address: 10.0.0.12
      role: worker
      labels: {example.com/disk: ssd}
    - address: edge1.example.com
      group: edge
---
# What kubeadm takes, for the control plane; with JoinConfiguration for all that join. Both may be left out.
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking:
  podSubnet: 10.244.0.0/16
`;
