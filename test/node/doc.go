// Package node runs a Kubernetes node with real pods, and with it a whole cluster of one machine: controller manager, scheduler, kubelet,
// kube-proxy and containerd beside etcd and kube-apiserver, all in Linux namespaces of their own, so that nothing of it is left behind.
// It needs root, cgroups, and runc, nft, ip and mount; the programs that are built from source are in bin/node (test/controlplane/build node).
package node
