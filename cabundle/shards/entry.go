package shards

import (
	"encoding/json"
	"strings"

	"github.com/caject/caject/cabundle"
)

// Entry is what is stored of one source. The zero value is nothing.
type Entry struct {
	// History is what the replicas share.
	History cabundle.History
	// Published is what policies read.
	Published cabundle.Published
	// Problem says why the source cannot be injected, for a policy to warn of; empty if it can.
	Problem string

	held []holder // where it was found, the one that counts first; none if nothing is stored
}

// Stored reports whether anything is stored.
func (e Entry) Stored() bool { return len(e.held) > 0 }

// Named reports whether e is stored as that of a source that targets name.
func (e Entry) Named() bool { return len(e.held) > 0 && !e.held[0].shard.ahead() }

// Untidy reports whether e is stored in more than one shard.
func (e Entry) Untidy() bool { return len(e.held) > 1 }

// values is an Entry as a shard holds it.
type values struct {
	// published are Published.CABundle and then Published.Replaces, the latest last: base64, with a space between two. The first is empty
	// if there is nothing to fill in.
	published string
	// history is the JSON of the History.
	history string
	problem string
}

// bytes is what values takes up in a shard, with its key.
func (v values) bytes(key string) int {
	return 2*len(key) + len(v.published) + len(v.history) + len(v.problem)
}

// encode returns e as a shard holds it.
func encode(e Entry) values {
	history, _ := json.Marshal(e.History) // it cannot fail
	return values{
		published: strings.Join(append([]string{e.Published.CABundle}, e.Published.Replaces...), " "),
		history:   string(history),
		problem:   e.Problem,
	}
}

// decode is the reverse of encode. What cannot be read counts as nothing: the replicas know it, or begin anew.
func decode(v values) (e Entry) {
	e.Problem = v.problem
	words := strings.Split(v.published, " ")
	e.Published.CABundle = words[0]
	if len(words) > 1 {
		e.Published.Replaces = words[1:]
	}
	_ = json.Unmarshal([]byte(v.history), &e.History)
	e.History = e.History.Fill(e.Published.Bundle())
	return e
}

// holder is a shard that holds a source, and what it holds.
type holder struct {
	shard  name
	values values
}

// entryOf returns what holders hold together. What is published is that of the first: policies may fill in either.
func entryOf(holders []holder) Entry {
	var e Entry
	for i, h := range holders {
		of := decode(h.values)
		if i == 0 {
			e = of
			continue
		}
		e.History = e.History.Merge(of.History)
		e.Published.Replaces = append(e.Published.Replaces, of.Published.CABundle)
		e.Published.Replaces = append(e.Published.Replaces, of.Published.Replaces...)
	}
	e.held = holders
	return e
}
