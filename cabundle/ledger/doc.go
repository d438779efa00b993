// Package ledger is the one home of what is known about each source: what it was last read to be, and its history. It is the
// only reader of sources beside admission, which must answer while somebody waits.
//
// A source has an account. Its Revision grows whenever something changes that matters to targets: another CA, a problem that
// comes or goes, a certificate that is retired or distrusted. A target remembers the Revision that it was brought to, and is
// due when the two differ. So nobody compares readings, or guards against slow ones. For targets that hold what the source holds and nothing
// else there is another one, the ExactRevision: more changes matter to them.
//
//	hint, tick, asker --> flight --> GET --> account: reading, history, Revision --> OnChange
//	                                            ^
//	              stored history --> Learn -----+
//
// Reads of one source never overlap, and one read answers all who asked before it began (see flight). At most maxReads
// are under way at a time, whoever asks.
//
// A tick is a read from the API server's watch cache, once per Interval for each source that is followed, at a time of its own,
// so that the reads are spread. Only if it finds something new, a consistent read follows. A source that cannot be used yet is
// tried again after growing waits. After a hint the source is read a few times, until it has changed. A source that changes
// ever faster is followed ever more slowly.
//
// An account begins when somebody asks for its source, and outlasts the last target for a while; or until Forget, if something may be
// stored of the source.
//
// Goroutines: the workers and the heartbeat of Start, and one for each source that is being read, which ends with the read.
// There is one lock, Ledger.mu, held for moments, and never while the listeners of OnChange are called.
package ledger
