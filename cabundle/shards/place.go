package shards

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	// roomBytes is up to where new sources are put into a shard. A smaller one is cheaper to write and to keep in the API server's watch
	// cache; a policy is evaluated once for each.
	roomBytes = 192 << 10
	// mostBytes is how large a shard may become when what it holds grows. etcd takes 1.5 MiB.
	mostBytes = 512 << 10
	// aheadBytes is how much there is in all of sources that no target names, aheadEntryBytes of one of them, and aheadPerNamespace how many of
	// a namespace: who can write Secrets makes caject store no more.
	aheadBytes, aheadEntryBytes, aheadPerNamespace = 512 << 10, 8 << 10, 16
)

// plan is what a commit is to write: drafts of shards, by name. It begins with those that are there.
type plan struct {
	shards map[name]*shard // as they are
	drafts map[name]*shard // as they are to be
}

// draft returns what n is to be; the caller may change it.
func (p *plan) draft(n name) *shard {
	if draft, ok := p.drafts[n]; ok {
		return draft
	}
	draft := &shard{entries: map[string]values{}}
	if there, ok := p.shards[n]; ok {
		draft = there.clone()
	}
	p.drafts[n] = draft
	return draft
}

// now returns what n is to be, to look at; ok is false if it is not there.
func (p *plan) now(n name) (s *shard, ok bool) {
	if s, ok = p.drafts[n]; !ok {
		s, ok = p.shards[n]
	}
	return s, ok
}

// names returns the shards of a role that are there or drafted, in order.
func (p *plan) names(of role) []name {
	var all []name
	for n := range p.shards {
		if n.role == of {
			all = append(all, n)
		}
	}
	for n := range p.drafts {
		if _, ok := p.shards[n]; !ok && n.role == of {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, name.compare)
	return all
}

// place returns the shard that is to hold v of source: the one that has it, if it may, else the first with room, else a new one.
func (p *plan) place(source string, v values, of role, held []holder) name {
	for _, h := range held {
		if there, _ := p.now(h.shard); h.shard.role == of && there != nil &&
			there.bytes-there.entries[source].bytes(source)+v.bytes(source) <= mostBytes {
			return h.shard
		}
	}
	next := name{role: of}
	for _, n := range p.names(of) {
		if there, _ := p.now(n); len(there.entries) == 0 || there.bytes+v.bytes(source) <= roomBytes {
			return n
		}
		if n.number == next.number {
			next.number++
		}
	}
	return next
}

// aged is a source that no target names, and how old what is stored of it is.
type aged struct {
	shard  name
	source string
	bytes  int
	age    int64
}

func ageOf(v values) int64 { return gjson.Get(v.history, "observed").Int() }

// makeRoom removes the oldest of the sources that no target names until they keep to their bounds with v of source. It returns false if
// source itself is among the oldest: it must not displace what is newer, or those that lose their targets together would displace each
// other for ever.
func (p *plan) makeRoom(source string, v values) bool {
	all := []aged{{source: source, bytes: v.bytes(source), age: ageOf(v)}}
	total := all[0].bytes
	for _, n := range p.names(ahead) {
		there, _ := p.now(n)
		for other, values := range there.entries {
			if other != source {
				all = append(all, aged{n, other, values.bytes(other), ageOf(values)})
				total += values.bytes(other)
			}
		}
	}
	slices.SortFunc(all, func(a, b aged) int {
		return cmp.Or(cmp.Compare(a.age, b.age), cmp.Compare(a.source, b.source))
	})
	var surplus []aged
	neighbours := 0
	for _, one := range slices.Backward(all) {
		if namespace(one.source) == namespace(source) {
			if neighbours++; neighbours > aheadPerNamespace {
				surplus = append(surplus, one)
				total -= one.bytes
			}
		}
	}
	for _, one := range all {
		if total > aheadBytes && !slices.Contains(surplus, one) {
			surplus = append(surplus, one)
			total -= one.bytes
		}
	}
	if slices.ContainsFunc(surplus, func(one aged) bool { return one.source == source }) {
		return false
	}
	for _, one := range surplus {
		p.draft(one.shard).remove(one.source)
	}
	return true
}

// namespace returns that of a source, with its kind.
func namespace(source string) string { return source[:strings.LastIndexByte(source, '/')+1] }
