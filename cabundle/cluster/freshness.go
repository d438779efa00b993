package cluster

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Freshness says how new an answer has to be.
type Freshness int

const (
	// Consistent is the state at the time of the call. Whoever writes what was read needs it.
	Consistent Freshness = iota
	// Cached is what the API server has at hand in its watch cache, some time old. It costs etcd nothing, and may
	// only be used to conclude that there is nothing to do.
	Cached
)

// Options is the form of f that the API server understands.
func (f Freshness) Options() *metav1.GetOptions {
	if f == Cached {
		return &metav1.GetOptions{ResourceVersion: "0"}
	}
	return &metav1.GetOptions{}
}
