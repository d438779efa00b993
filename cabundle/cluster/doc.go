// Package cluster is the API server's face: all that caject asks of it about sources, targets and CABundles. It turns
// answers into the values of package cabundle, and decides nothing.
//
//	Sources   reads the one object that an annotation names; never lists, watches or keeps Secrets
//	Targets   reads and patches the objects that carry a caBundle, as JSON
//	Bundles   reads and writes CABundles
//	Watcher   follows targets (their metadata) and CABundles
//
// Each call is one request (two for a Certificate), with nothing kept in between, and may take as long as its context
// allows. A caller that only wants to know whether there is something to do says [Cached] and costs etcd nothing; whoever writes
// what was read says [Consistent].
//
// Reading a Secret:
//
//	sources := cluster.NewSources(client, scope, apiServerCA)
//	reading := sources.Read(ctx, ref, cluster.Consistent)
//	if reading.Problem != nil {
//		return reading.Problem // with the reason, for an Event
//	}
//
// Writing a target is guarded by the resourceVersion that was read; a Conflict says that somebody else wrote in between:
//
//	object, err := targets.Get(ctx, target, cluster.Consistent)
//	patch, _, problem := cabundle.Inject(now, object, nil, reading.Bundle, cabundle.Merge)
//	written, err := targets.Patch(ctx, object, patch)
//	written, err = targets.Disown(ctx, written, cluster.FieldManager) // nobody owns what is injected
package cluster
