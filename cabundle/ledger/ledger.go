package ledger

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/alive"
	"github.com/caject/caject/cabundle/metrics"
	"github.com/caject/caject/cabundle/work"
)

// Options are all that can be set.
type Options struct {
	// Interval is the time between two ticks of a source, and the longest wait before one that cannot be used is tried again.
	Interval time.Duration
	// Rules say what becomes of certificates that left their source, or are distrusted.
	Rules cabundle.Rules
}

// Reading is what is known of a source.
type Reading struct {
	// Reading is the latest reading. Its Version is 0 and its Revision too if there was none yet; then Bundle and Problem are empty.
	cabundle.Reading
	// History is what is known of its certificates over time, by this process and by those that it shares a store with.
	History cabundle.History
	// Revision grows with each change that matters to targets. It is 0 until the first reading.
	Revision int
	// ExactRevision is the same for targets that hold what the source holds and nothing else (see [cabundle.ModeAnnotation]). It grows when
	// Revision does, and with changes after which a target that merges would hold what it held before: a rotation is taken back, a CA leaves.
	ExactRevision int
	// Via is what found the latest change.
	Via metrics.Path
	// Consistent reports whether Reading is from etcd, or as good as that, and nobody has said since that there is a newer one; else it may
	// only serve to conclude that there is nothing to do.
	Consistent bool
	// Began is when the reading began.
	Began time.Time
}

// Ledger keeps an account for each source. It is safe for concurrent use.
type Ledger struct {
	sources sources
	options Options
	metrics *metrics.Metrics
	clock   clock.WithTicker
	queue   *work.Queue[cabundle.Reference]
	slots   *semaphore.Weighted
	reads   *alive.Loop
	changed []func(cabundle.Reference) // set before Start
	recall  func(cabundle.Reference) cabundle.History

	standing standing // of the heartbeat alone

	mu       sync.Mutex // guards what follows
	accounts map[cabundle.Reference]*account
	answered time.Time // when a source was last answered, or there was none to ask
}

// New returns a Ledger that reads through s.
func New(o Options, s sources, m *metrics.Metrics, c clock.WithTicker) *Ledger {
	return &Ledger{
		sources:  s,
		options:  o,
		metrics:  m,
		clock:    c,
		queue:    work.NewQueue[cabundle.Reference]("looking after sources", c),
		slots:    semaphore.NewWeighted(maxReads),
		reads:    alive.NewLoop("reading a source", hangs, 0, c),
		accounts: map[cabundle.Reference]*account{},
		answered: c.Now(),
		recall:   func(cabundle.Reference) cabundle.History { return cabundle.History{} },
	}
}

// SetRecall has recall return what is stored of the history of a source that no account is kept of. It must not block, nor call the
// Ledger. It is called before Start.
func (l *Ledger) SetRecall(recall func(cabundle.Reference) cabundle.History) { l.recall = recall }

// OnChange has listener called whenever the Revision or the History of a source has changed. It must not block, and may call
// Latest. It is called before Start.
func (l *Ledger) OnChange(listener func(cabundle.Reference)) {
	l.changed = append(l.changed, listener)
}

func (l *Ledger) tell(ref cabundle.Reference) {
	for _, listener := range l.changed {
		listener(ref)
	}
}

// Latest returns what is known of ref. Nothing is read.
func (l *Ledger) Latest(ref cabundle.Reference) Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.accounts[ref]; ok {
		return l.latest(a)
	}
	return Reading{}
}

func (l *Ledger) latest(a *account) Reading {
	return Reading{
		Reading:  l.options.Rules.Judge(l.clock.Now(), a.history, a.reading),
		History:  a.history,
		Revision: a.revision, ExactRevision: a.exact,
		Via:        a.via,
		Consistent: a.consistent && !a.contradicted,
		Began:      a.began,
	}
}

// Revision returns that of ref; it is 0 until the first reading.
func (l *Ledger) Revision(ref cabundle.Reference) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.accounts[ref]; ok {
		return a.revision
	}
	return 0
}

// Combine says what becomes of a caBundle of a target with annotations whose source is ref.
func (l *Ledger) Combine(ref cabundle.Reference, annotations map[string]string) cabundle.Combine {
	return l.options.Rules.For(annotations).Combine(l.Latest(ref).History)
}

// Weigh returns what a target of ref, with annotations, gets from reading, which somebody else has made just now, and what becomes of the certificates
// that it holds already. Nothing is noted.
func (l *Ledger) Weigh(ref cabundle.Reference, annotations map[string]string, reading cabundle.Reading) (cabundle.Reading, cabundle.Combine) {
	history, now := l.history(ref), l.clock.Now()
	if !outage(reading) {
		history = l.options.Rules.Observe(now, history, reading)
	}
	return l.options.Rules.Judge(now, history, reading), l.options.Rules.For(annotations).Combine(history)
}

// history returns what is known, or stored, of the history of ref.
func (l *Ledger) history(ref cabundle.Reference) (history cabundle.History) {
	l.mu.Lock()
	a, ok := l.accounts[ref]
	if ok {
		history = a.history
	}
	l.mu.Unlock()
	if !ok { // not under the lock: certificates are parsed
		history = l.recall(ref)
	}
	return history
}

// Learn takes in what is stored of the history of ref, as it was read just now, and returns both together. stale reports that
// the latest reading contradicts what somebody has stored since: the source must be read again before anything is stored. That is begun, too.
func (l *Ledger) Learn(ref cabundle.Reference, stored cabundle.History) (history cabundle.History, stale bool) {
	now := l.clock.Now()
	l.mu.Lock()
	a := l.of(ref)
	a.stored = true
	before := a.history
	a.history = before.Merge(stored).Date(now)
	if !a.history.Adds(now, stored) {
		a.history = stored.Complete(a.history) // without numbers that nobody has seen
	}
	a.history = bounded(now, a.history)
	news := a.history.Adds(now, before)
	if news {
		a.learned = now
		a.review = l.options.Rules.Review(now, a.history)
	}
	stale = a.consistent && a.followed && l.options.Rules.Observe(now, a.history, a.reading).Adds(now, a.history) && !a.began.After(a.learned)
	a.contradicted = a.contradicted || stale
	if stale && !a.verify {
		a.verify = true
		l.queue.Add(ref)
	}
	changed := l.judge(a, metrics.Resync) // what is not worth storing may still be a verdict
	history = a.history
	l.mu.Unlock()
	if news || changed {
		l.tell(ref)
	}
	return history, stale
}

// bounded returns history without what need not be remembered. What is stored is bounded more closely; here is room for what its writer
// is to say that it had to drop.
func bounded(now time.Time, history cabundle.History) cabundle.History {
	history, _ = history.Trim(now, 2*cabundle.MaxSourceBytes)
	return history
}

// judge raises the Revisions of a if something has changed that matters to targets, and reports whether it has. What matters is what a
// target would get that holds nothing yet, and what is unwanted in those that hold something. The caller holds l.mu.
func (l *Ledger) judge(a *account, via metrics.Path) bool {
	if !a.read {
		return false
	}
	verdict, judged := strings.Join(a.history.Verdicts(), ","), l.latest(a)
	if judged.Problem != nil {
		verdict += " " + string(judged.Problem.Reason)
	} else {
		fill := l.options.Rules.Combine(a.history)
		verdict += " " + fill(l.clock.Now(), cabundle.Bundle{}, judged.Bundle).Digest()
	}
	holds := verdict + " " + judged.Bundle.Digest()
	if holds == a.holds {
		return false
	}
	if a.hint.active() {
		via = metrics.Hint
	}
	a.holds, a.via = holds, via
	a.exact++
	if verdict != a.verdict {
		a.verdict = verdict
		a.revision++
	}
	return true
}

// Expiries returns when the first certificate of each followed source expires, those that have expired already aside.
func (l *Ledger) Expiries() map[cabundle.Reference]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	expiries := map[cabundle.Reference]time.Time{}
	for ref, a := range l.accounts {
		if at := a.reading.Bundle.Unexpired(l.clock.Now()).FirstExpiry(); a.followed && a.read && !at.IsZero() {
			expiries[ref] = at
		}
	}
	return expiries
}

// followed returns the sources that are followed.
func (l *Ledger) followed() []cabundle.Reference {
	l.mu.Lock()
	defer l.mu.Unlock()
	var refs []cabundle.Reference
	for ref, a := range l.accounts {
		if a.followed {
			refs = append(refs, ref)
		}
	}
	return refs
}
