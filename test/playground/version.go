package playground

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Current is the version that the tests run on by default.
const Current = "current"

// APIServerOf returns the path of the kube-apiserver of a version of Kubernetes: Current, or one such as 1.30 that
// `test/controlplane/build 1.30` has built.
func APIServerOf(root, version string) (string, error) {
	path := filepath.Join(root, "bin", "k8s", version, "kube-apiserver")
	if version == Current {
		path = filepath.Join(root, "bin", "kube-apiserver")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the kube-apiserver of Kubernetes %s: %w", version, err)
	}
	return path, nil
}

// UseAPIServer has kube-apiserver be the program at path from the next start on: for [StartControlPlane] and [ControlPlane.Configure].
func UseAPIServer(path string) func(*envtest.APIServer) {
	return func(a *envtest.APIServer) { a.Path = path }
}
