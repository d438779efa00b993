package shards

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

// commitPause is how long after a commit the next one waits: what comes meanwhile goes into it. A shard is large, and its writes are work for
// the API server.
const commitPause = 50 * time.Millisecond

// TidyAfter is how long an entry is in two shards before one is removed: each API server learns of the new one for itself.
const TidyAfter = time.Second

// ErrNotSynced says that it is not known yet what is stored.
var ErrNotSynced = errors.New("the shards are not known yet")

// Options say where shards are.
type Options struct {
	// Namespace is that of the shards.
	Namespace string
	// Name is what their names begin with, and the value of their label.
	Name string
}

// Identity is what marks shards as ours.
type Identity struct {
	// Cluster is the UID of the namespace kube-system; empty if it may not be read.
	Cluster string
	// Owner is what shards go with when it is removed; nil if nothing is known to be fit for that.
	Owner *metav1.OwnerReference
}

// Client reads and writes the PodTemplates of the namespace. The errors are those of the API machinery.
type Client interface {
	Identity(context.Context) (Identity, error)
	Get(ctx context.Context, name string) (*corev1.PodTemplate, error)
	Create(context.Context, *corev1.PodTemplate) error
	Update(context.Context, *corev1.PodTemplate) error
	Delete(context.Context, *corev1.PodTemplate) error
}

// Store is all shards. It is safe for concurrent use.
type Store struct {
	options Options
	client  Client
	clock   clock.WithTicker
	changed func(cabundle.Reference)
	wake    chan struct{}
	doubled map[string]time.Time // of the goroutine that commits: since when a source has been in a second shard

	mu       sync.Mutex // guards what follows
	identity *Identity  // nil until it is known
	seen     map[name]*corev1.PodTemplate
	shards   map[name]*shard
	listed   func() bool
	queue    []*put
}

// New returns a Store. changed is called with each source of which something else is stored than before, whoever has stored it; it must not
// block.
func New(o Options, c Client, clk clock.WithTicker, changed func(cabundle.Reference)) *Store {
	return &Store{
		options: o, client: c, clock: clk, changed: changed, wake: make(chan struct{}, 1),
		doubled: map[string]time.Time{}, seen: map[name]*corev1.PodTemplate{}, shards: map[name]*shard{},
		listed: func() bool { return true },
	}
}

// SetListed has the Store count as synced only once listed says that the watch has shown all shards. It is called before Start.
func (s *Store) SetListed(listed func() bool) { s.listed = listed }

// Start works until ctx ends.
func (s *Store) Start(ctx context.Context) error {
	if s.identify(ctx) != nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.commit(ctx)
			pause := time.NewTimer(commitPause)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

// identify asks who we are until that is known. The error is that ctx has ended.
func (s *Store) identify(ctx context.Context) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 4 * time.Second}
	return backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (done bool, _ error) {
		identity, err := s.client.Identity(ctx)
		if err != nil {
			log.FromContext(ctx).V(1).Info("Not known yet which cluster this is", "error", err.Error())
			return false, nil
		}
		s.begin(identity)
		return true, nil
	})
}

// begin takes in all that was seen before it was known whether it is ours.
func (s *Store) begin(identity Identity) {
	first := map[name]*shard{}
	s.mu.Lock()
	for n, object := range s.seen {
		first[n] = parse(object, s.options, identity)
		s.shards[n] = first[n]
	}
	s.identity, s.seen = &identity, nil
	s.mu.Unlock()
	for _, now := range first {
		s.tell(nil, now)
	}
}

// Seen takes in a shard as the watch shows it. The watch may be behind what this process has read or written itself; not so a new list.
func (s *Store) Seen(object *corev1.PodTemplate, listed bool) {
	n, ok := parseName(s.options.Name, object.Name)
	if !ok {
		return
	}
	s.mu.Lock()
	if s.identity == nil {
		s.seen[n] = object
		s.mu.Unlock()
		return
	}
	known, ok := s.shards[n]
	news := !ok || newer(object, known.object) || listed && object.ResourceVersion != known.object.ResourceVersion
	s.mu.Unlock()
	if news {
		s.take(n, parse(object, s.options, *s.identity))
	}
}

// newer reports whether a is a later state than b.
func newer(a, b *corev1.PodTemplate) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}

// Gone takes in that the shard of the given name is not there any more.
func (s *Store) Gone(object string) {
	if n, ok := parseName(s.options.Name, object); ok {
		s.mu.Lock()
		delete(s.seen, n)
		s.mu.Unlock()
		s.take(n, nil)
	}
}

// take notes what n is now, nil for gone, and tells of what differs from before.
func (s *Store) take(n name, now *shard) {
	s.tell(s.note(n, now), now)
}

// note notes what n is now, nil for gone, and returns what it was before.
func (s *Store) note(n name, now *shard) (before *shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.shards[n]
	if now == nil {
		delete(s.shards, n)
	} else {
		s.shards[n] = now
	}
	return before
}

// tell tells of what differs between before and now, and has what is wrong put right. Each may be nil.
func (s *Store) tell(before, now *shard) {
	if now != nil && (now.foreign || now.wrong) {
		s.rouse()
	}
	for source := range differences(before, now) {
		if ref, ok := cabundle.ParseReference(source); ok {
			s.changed(ref)
		}
	}
}

// differences returns the sources of which a and b hold different things; each may be nil.
func differences(a, b *shard) map[string]bool {
	differ := map[string]bool{}
	mine := func(s *shard) map[string]values {
		if s == nil {
			return nil
		}
		return s.entries
	}
	for source, v := range mine(a) {
		if mine(b)[source] != v {
			differ[source] = true
		}
	}
	for source := range mine(b) {
		if _, ok := mine(a)[source]; !ok {
			differ[source] = true
		}
	}
	return differ
}

// Synced reports whether it is known what is stored.
func (s *Store) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity != nil && s.listed()
}

// Get returns what is stored of ref, as far as is known here. The error is ErrNotSynced, or nil.
func (s *Store) Get(ref cabundle.Reference) (Entry, error) {
	if !s.Synced() {
		return Entry{}, ErrNotSynced
	}
	s.mu.Lock()
	held := holders((&plan{shards: s.shards}), ref.String())
	s.mu.Unlock()
	return entryOf(held), nil
}

// Ahead returns the sources that no target names and that are stored all the same.
func (s *Store) Ahead() []cabundle.Reference {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []cabundle.Reference
	for n, there := range s.shards {
		for source := range there.entries {
			if ref, ok := cabundle.ParseReference(source); ok && n.ahead() {
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// holders returns where source is, as p has it: the shards of named sources first.
func holders(p *plan, source string) []holder {
	var all []holder
	add := func(n name, there *shard) {
		if v, ok := there.entries[source]; ok {
			all = append(all, holder{n, v})
		}
	}
	for n, there := range p.shards {
		if _, drafted := p.drafts[n]; !drafted {
			add(n, there)
		}
	}
	for n, there := range p.drafts {
		add(n, there)
	}
	slices.SortFunc(all, func(a, b holder) int { return a.shard.compare(b.shard) })
	return all
}
