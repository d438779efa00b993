package shards

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

const (
	// maxTries bounds how often a shard is written that others get in the way of.
	maxTries = 5
	// maxWrites is how many shards are written side by side.
	maxWrites = 4
	// commitTimeout bounds one commit.
	commitTimeout = 10 * time.Second
)

// ErrTooLarge says that an entry is too large to be stored before a target names its source.
var ErrTooLarge = fmt.Errorf("more than %d bytes", aheadEntryBytes)

// put is an entry that is to be stored.
type put struct {
	source         string
	role           role
	before, wanted Entry
	remove         bool

	tries   int
	touched []name        // the shards that must be written for it
	done    chan struct{} // closed once entry and err are set
	entry   Entry
	err     error
}

// Put stores wanted of a source that targets name, in place of before, and returns what is stored then. It may be Untidy for a moment:
// then Put is to be called once more, a second later. If something else than before is stored by now, the error is a Conflict.
func (s *Store) Put(ctx context.Context, ref cabundle.Reference, before, wanted Entry) (Entry, error) {
	return s.do(ctx, &put{source: ref.String(), role: named, before: before, wanted: wanted})
}

// PutAhead is Put for a source that no target names. Older ones of the kind make room for it; if only newer ones could, it is removed. The
// error is ErrTooLarge if it is.
func (s *Store) PutAhead(ctx context.Context, ref cabundle.Reference, before, wanted Entry) (Entry, error) {
	p := &put{source: ref.String(), role: ahead, before: before, wanted: wanted}
	if v := encode(wanted); v.bytes(p.source) > aheadEntryBytes {
		return before, ErrTooLarge
	}
	return s.do(ctx, p)
}

// Remove removes what is stored of a source, if it is still before.
func (s *Store) Remove(ctx context.Context, ref cabundle.Reference, before Entry) error {
	if !before.Stored() {
		return nil
	}
	_, err := s.do(ctx, &put{source: ref.String(), before: before, remove: true})
	return err
}

func (s *Store) do(ctx context.Context, p *put) (Entry, error) {
	if !s.Synced() {
		return Entry{}, ErrNotSynced
	}
	if !p.remove && len(p.before.held) == 1 && p.before.held[0].shard.role == p.role && p.before.held[0].values == encode(p.wanted) {
		return p.before, nil
	}
	p.done = make(chan struct{})
	s.mu.Lock()
	s.queue = append(s.queue, p)
	s.mu.Unlock()
	s.rouse()
	select {
	case <-p.done:
		return p.entry, p.err
	case <-ctx.Done():
		return Entry{}, ctx.Err()
	}
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// commit writes all that is to be stored, and what is wrong.
func (s *Store) commit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s.mu.Lock()
	puts := s.queue
	s.queue = nil
	p := &plan{shards: maps.Clone(s.shards), drafts: map[name]*shard{}}
	s.mu.Unlock()
	for _, one := range puts {
		s.include(p, one)
	}
	for n, there := range p.shards {
		if there.foreign || there.wrong {
			p.draft(n)
		}
	}
	failed := s.write(ctx, p)
	s.mu.Lock()
	now := &plan{shards: s.shards}
	for _, one := range puts {
		if one.settle(now, failed); errors.Is(one.err, errAgain) {
			one.err = nil
			s.queue = append(s.queue, one)
			s.rouse()
			continue
		}
		close(one.done)
	}
	s.mu.Unlock()
}

// include adds what p needs for one to be stored.
func (s *Store) include(p *plan, one *put) {
	one.touched = nil
	held := holders(p, one.source)
	if !slices.Equal(held, one.before.held) {
		one.err = apierrors.NewConflict(schema.GroupResource{Resource: "podtemplates"}, one.source, errors.New("others have stored something else"))
		return
	}
	v := encode(one.wanted)
	if one.remove || one.role == ahead && !p.makeRoom(one.source, v) {
		for _, h := range held {
			p.draft(h.shard).remove(one.source)
			one.touched = append(one.touched, h.shard)
		}
		delete(s.doubled, one.source)
		return
	}
	n := p.place(one.source, v, one.role, held)
	others := slices.DeleteFunc(slices.Clone(held), func(h holder) bool { return h.shard == n })
	if there, ok := p.now(n); !ok || there.entries[one.source] != v {
		p.draft(n).set(one.source, v)
		one.touched = append(one.touched, n)
		delete(s.doubled, one.source)
	}
	if !s.tidies(one.source, len(others) > 0) {
		return
	}
	for _, h := range others {
		p.draft(h.shard).remove(one.source)
		one.touched = append(one.touched, h.shard)
	}
}

// tidies reports whether a source that is (not) in other shards, too, has been so for long enough to be taken out of those.
func (s *Store) tidies(source string, doubled bool) bool {
	since, ok := s.doubled[source]
	switch {
	case !doubled:
		delete(s.doubled, source)
	case !ok:
		s.doubled[source] = s.clock.Now()
	default:
		return s.clock.Since(since) >= TidyAfter
	}
	return false
}

// errAgain has a put tried once more: the shard was not what it was taken for.
var errAgain = errors.New("the shard has changed")

// settle sets what became of the put, once the drafts are written but for the failed ones.
func (o *put) settle(now *plan, failed map[name]error) {
	if o.err != nil {
		return
	}
	for _, n := range o.touched {
		err, bad := failed[n]
		if !bad {
			continue
		}
		if o.err = err; apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			if o.tries++; o.tries < maxTries {
				o.err = errAgain
			}
		}
		return
	}
	o.entry = entryOf(holders(now, o.source))
}

// write writes the drafts of p, and returns the errors of those that could not be.
func (s *Store) write(ctx context.Context, p *plan) map[name]error {
	var mu sync.Mutex
	failed := map[name]error{}
	var writing errgroup.Group
	writing.SetLimit(maxWrites)
	for n, draft := range p.drafts {
		writing.Go(func() error {
			if err := s.writeOne(ctx, n, p.shards[n], draft); err != nil {
				log.FromContext(ctx).V(1).Info("Shard not written", "shard", n.object(s.options.Name), "error", err.Error())
				mu.Lock()
				failed[n] = err
				mu.Unlock()
			}
			return nil
		})
	}
	_ = writing.Wait()
	return failed
}

// writeOne writes draft in place of there, which is nil if the shard is new, and notes what n is then: nobody need be told of what this
// process has written itself. What is empty is deleted.
func (s *Store) writeOne(ctx context.Context, n name, there, draft *shard) error {
	if len(draft.entries) == 0 {
		if there == nil {
			return nil
		}
		err := s.client.Delete(ctx, there.object)
		if err == nil || apierrors.IsNotFound(err) {
			s.note(n, nil)
			return nil
		}
		return s.reread(ctx, n, err)
	}
	write, object := s.client.Update, &corev1.PodTemplate{}
	if there == nil {
		write, object.ObjectMeta = s.client.Create, metav1.ObjectMeta{Name: n.object(s.options.Name), Namespace: s.options.Namespace}
	} else {
		object = there.object
	}
	object = draft.render(object, s.options, *s.identity)
	if err := write(ctx, object); err != nil {
		return s.reread(ctx, n, err)
	}
	s.note(n, parse(object, s.options, *s.identity))
	return nil
}

// reread takes in what n is now, if a write has failed with err because it is not what it was taken for. It returns err.
func (s *Store) reread(ctx context.Context, n name, err error) error {
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
		return err
	}
	switch object, readErr := s.client.Get(ctx, n.object(s.options.Name)); {
	case readErr == nil:
		s.take(n, parse(object, s.options, *s.identity))
	case apierrors.IsNotFound(readErr):
		s.take(n, nil)
	default:
		return readErr
	}
	return err
}
