package survey

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// Place is what one caBundle field holds, or several that hold the same.
type Place struct {
	// Webhooks are those of a configuration; empty for kinds with one caBundle.
	Webhooks []string `json:"webhooks,omitempty"`
	// Bytes is the length of what it holds, decoded from base64.
	Bytes int `json:"bytes"`
	// Fault says what it holds beside certificates, or in their place: a placeholder, a private key, junk.
	Fault        string        `json:"fault,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
}

// places returns what the fields of f's target hold at now; those that hold the same are one.
func (f *Finding) places(now time.Time) []Place {
	var places []Place
	var held [][]byte
	origin := f.Known.origin
	if f.Source == "" {
		origin = nil
	}
	for _, field := range f.Object.Fields {
		at := slices.IndexFunc(held, func(other []byte) bool { return bytes.Equal(other, field.CABundle) })
		if at < 0 {
			at = len(held)
			held = append(held, field.CABundle)
			places = append(places, Place{
				Bytes:        len(field.CABundle),
				Fault:        fault(field.CABundle),
				Certificates: DecodePEM(now, field.CABundle, origin),
			})
		}
		if field.Webhook != "" {
			places[at].Webhooks = append(places[at].Webhooks, Printable(field.Webhook))
		}
	}
	return places
}

// fault says what caBundle holds beside certificates that the API server reads, or nothing.
func fault(caBundle []byte) string {
	switch {
	case len(caBundle) == 0:
		return "it is absent"
	case len(bytes.TrimSpace(caBundle)) == 0:
		return "it is a placeholder: white space"
	}
	_, leftOut, problem := cabundle.ParseSource(caBundle)
	switch {
	case problem != nil && problem.Reason == cabundle.SourceTooLarge: // only a source may not be
		return ""
	case problem != nil && cabundle.ParseExisting(caBundle).Empty():
		return "it is a placeholder, or damaged: it " + strings.TrimPrefix(problem.Detail, "ca.crt ")
	case problem != nil:
		return "it " + strings.TrimPrefix(problem.Detail, "ca.crt ")
	case len(leftOut) > 0:
		return fmt.Sprintf("the API server cannot read %d of its certificates", len(leftOut))
	}
	return ""
}

// origin says which certificate of the source one is.
func (k *Known) origin(certificate *x509.Certificate) string {
	current := k.Reading.Bundle.Certificates()
	if at := slices.IndexFunc(current, certificate.Equal); at >= 0 {
		return fmt.Sprintf("certificate %d of the source", at+1)
	}
	if k.Published != nil {
		number := 0
		fingerprint := cabundle.Fingerprint(certificate)
		for _, one := range k.Published.Status.Certificates {
			if one.LastSeen == nil {
				number++
			}
			if one.Fingerprint == fingerprint {
				return formerly(one, number)
			}
		}
	}
	if len(current) == 0 && (k.Published == nil || len(k.Published.Status.Certificates) == 0) {
		return "whether it is of the source is not known"
	}
	return "not of the source"
}

// formerly says what a published certificate is to its source; number is its place among those that the source holds.
func formerly(published v1alpha1.Certificate, number int) string {
	if published.LastSeen == nil {
		return fmt.Sprintf("certificate %d of the source, as caject has read it", number)
	}
	return "a former one of the source, since " + published.LastSeen.UTC().Format(time.RFC3339)
}
