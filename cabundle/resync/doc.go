// Package resync keeps targets right over time, whatever happened at admission. Correctness rests on it alone; admission,
// policies and hints only make it fast.
//
// It watches the metadata of the kinds of target, never a Secret. An annotated object gets a state in the tracker, and its source an
// account in the ledger. A target is due when it is not as it was at the last look, when its source has another Revision than then, or
// when a certificate in it has expired.
//
//	watch --> tracker (Seen) --+
//	ledger --> OnChange -------+--> queue --> Reconcile: next (pure) --> look, readmit, write --> settle
//	sweep, every Interval -----+
//
// What to do with a target that is due is decided in next, a pure function of its state and of the ledger's reading. A look
// reads the target; one from the API server's cache may only conclude that all is right. What is not right is left to admission where that can be
// (the object is admitted again by an empty patch: then the caBundle belongs to no field manager), or else written, guarded by the
// resourceVersion.
//
// The way of one rotation: the API server hints (webhook.Hinter), Ledger.Hint reads the source until it has changed, its Revision
// grows, sourceChanged queues the targets, Reconcile has publish.Publisher store the new value, and has each target admitted again; settle notes
// the Revision that the target was brought to.
//
// Of several replicas the leader acts at once. The others queue what is due a second later, and look first: mostly there is nothing left to do.
//
// Goroutines: the workers of the queue, one for each watch, the sweep. Lock order: tracker.mu, then that of the ledger, then that of a queue.
// Nothing is waited for under tracker.mu.
package resync
