package certs

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle"
)

// Annotations of the Secret with which people ask for a new CA, for the key of the present one may have leaked.
const (
	// renewAnnotation asks for it. Any value that is not empty will do, such as a date or the number of a ticket; another value
	// is another request. caject removes it when the request is fulfilled.
	renewAnnotation = "caject.io/renew-ca"
	// renewingAnnotation is caject's own note, such as "0f3a… ticket 7": the fingerprint of the CA that was made for a request,
	// a space, and the value of the request. With it, a request survives a restart of all replicas.
	renewingAnnotation = "caject.io/renewing"
)

// renewal is what those annotations say.
type renewal struct {
	request string // the value of the request; empty if there is none
	made    string // the fingerprint of the CA that was made for it; empty if none was yet
	// distrusted are the entries of cabundle.DistrustAnnotation as they were found. caject adds those that a request has withdrawn;
	// people may add more.
	distrusted []string
}

func parseRenewal(annotations map[string]string) renewal {
	r := renewal{request: annotations[renewAnnotation]}
	for entry := range strings.SplitSeq(annotations[cabundle.DistrustAnnotation], ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			r.distrusted = append(r.distrusted, entry)
		}
	}
	made, request, _ := strings.Cut(annotations[renewingAnnotation], " ")
	if r.request != "" && request == r.request {
		r.made = made
	}
	return r
}

// write puts r into annotations.
func (r renewal) write(annotations map[string]string) {
	set := func(name, value string, wanted bool) {
		if delete(annotations, name); wanted {
			annotations[name] = value
		}
	}
	set(renewAnnotation, r.request, r.request != "")
	set(renewingAnnotation, r.made+" "+r.request, r.request != "" && r.made != "")
	set(cabundle.DistrustAnnotation, strings.Join(r.distrusted, ","), len(r.distrusted) > 0)
}

// distrusts reports whether ca is named.
func (r renewal) distrusts(ca *x509.Certificate) bool {
	return slices.Contains(cabundle.ParseFingerprints(strings.Join(r.distrusted, ",")), cabundle.Fingerprint(ca))
}

// distrusting returns r with more CAs distrusted.
func (r renewal) distrusting(certificates ...*x509.Certificate) renewal {
	r.distrusted = slices.Clone(r.distrusted)
	for _, certificate := range certificates {
		if !r.distrusts(certificate) {
			r.distrusted = append(r.distrusted, cabundle.Fingerprint(certificate))
		}
	}
	return r
}

// or returns r with what it lacks taken from memory: the Secret may have lost its annotations.
func (r renewal) or(memory renewal) renewal {
	if r.request == "" {
		r.request, r.made = memory.request, memory.made
	}
	all := slices.Clone(r.distrusted)
	for _, entry := range memory.distrusted {
		if !slices.Contains(all, entry) {
			all = append(all, entry)
		}
	}
	r.distrusted = all
	return r
}

// without returns those of bundle that r does not distrust.
func (r renewal) without(bundle cabundle.Bundle) cabundle.Bundle {
	return bundleOf(slices.DeleteFunc(slices.Clone(bundle.Certificates()), r.distrusts)...)
}

// asksForAnother reports whether a's request has not led to a CA that a holds. A next CA that was made before the request will not
// do: whoever could read the key of the one that signs could read its key, too. Nor will one that signs since nobody knows when.
func (a *authority) asksForAnother() bool {
	switch {
	case a.request == "":
		return false
	case a.renewed():
		return a.signsSince.IsZero()
	}
	return a.made == "" || a.made != a.next.fingerprint()
}

// renewed reports whether the CA that signs is the one that a's request has asked for.
func (a *authority) renewed() bool { return a.request != "" && a.made == a.fingerprint() }

// leafChange is how long after a CA began to sign each replica that can read the Secret serves a leaf of it:
//
//	requestTimeout       a look may be under way that has read the Secret just before,
//	interval and 20 %    and the next look begins that much after it (a look that failed is repeated sooner);
//	requestTimeout       it reads the Secret, and sees at the latest now that all callers trust the CA: promote has waited for that.
//	TrustDelay           But each replica counts for itself how long they do.
//	requestTimeout       Then it looks again, and changes its leaf.
//	dropMargin           The beginning is noted in whole seconds, and clocks differ a little.
//
// A replica that cannot read the Secret for so long keeps a leaf that is not trusted any more, and is not ready then.
func leafChange(trustDelay time.Duration) time.Duration {
	return 3*requestTimeout + interval + interval/5 + trustDelay + dropMargin
}
