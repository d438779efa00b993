// Package certs gives caject the certificate that it serves: its own CA in one Secret, shared by the replicas, and a
// leaf in memory for each of them. A [Keeper] looks after both. Use one for each Secret.
//
// There is no special case for caject's own webhook configurations. They name the Secret in the ordinary annotation, and
// the ordinary resync fills them, whether caject is ready or not.
//
// # A rotation
//
// Each step is one update of the Secret, guarded by its resourceVersion: of several replicas one takes it, and the others read
// what came of it. The state is in the Secret, so every replica can take the next step, also after all were restarted.
//
//  1. prepare: at two thirds of the CA's life the next one is made, and put beside it. Both are in ca.crt, which is what resync
//     injects into caject's own configurations.
//  2. promote: once every configuration, read back, has held the next CA for TrustDelay, it signs.
//  3. Each replica reads the Secret, makes a leaf of the new CA, and serves it once it has seen for itself that callers have trusted
//     the CA for TrustDelay.
//  4. drop: when no leaf of the former CA can be valid any more, the former CA leaves ca.crt.
//
// Whoever sets the annotation caject.io/renew-ca on the Secret gets a rotation now, for the key may have leaked: renew instead of
// prepare, then promote, then withdraw instead of drop. That does not wait for leaves to expire, but only until each replica has
// had the time for step 3, and it puts the former CAs into the annotation caject.io/distrust, so that they leave all targets.
// Nothing brings back what is named there: a Secret that is restored from memory neither.
//
// A Secret that was emptied, deleted or damaged is restored from the memory of a replica, or else gets a new CA: see repair.
//
// All times are those of the API server's clock, and while the local clock does not agree with it, no step is taken and no leaf
// made: see [ServerClock].
//
// # Goroutines
//
// The goroutine that runs Start does all of the work and owns all of the state. Three things are shared, and none of them by a
// lock: the leaf (for TLS handshakes and probes) and what callers were seen to trust (for probes) are values that are replaced as a
// whole, and the offset of the clock is one number, set by whichever goroutine gets an answer from the API server. Wake, GetCertificate,
// Ready and Alive may be called by any goroutine.
package certs
