package audit

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

const (
	// largeBytes is from where on a source is near cabundle.MaxSourceBytes.
	largeBytes = cabundle.MaxSourceBytes * 3 / 4
	// manyCertificates is more than a source needs, even amid a rotation: it is a whole trust store, each of whose CAs may then
	// issue a certificate for the webhook.
	manyCertificates = 20
	// urgent is from how long before it the expiry of a source is an Error.
	urgent = 7 * 24 * time.Hour
)

// source is one with the targets that name it and have a place for a caBundle.
type source struct {
	ref     cabundle.Reference
	targets []*survey.Finding
	where   string
}

// sources returns what is to be said of each source, once, however many targets name it.
func (in *Input) sources() []Issue {
	var issues []Issue
	for _, s := range in.bySource() {
		found := in.source(s)
		for i := range found {
			found[i].Where = s.where
			for _, target := range s.targets {
				found[i].Targets = append(found[i].Targets, survey.Printable(survey.Argument(target.Target())))
			}
			found[i].Targets = slices.Compact(found[i].Targets)
		}
		issues = append(issues, found...)
	}
	return issues
}

// bySource returns the sources that targets name, in the order of the targets.
func (in *Input) bySource() []*source {
	var all []*source
	at := map[cabundle.Reference]*source{}
	for i := range in.Targets {
		f := &in.Targets[i]
		if f.Reference == (cabundle.Reference{}) || f.State == survey.NotInjectable {
			continue
		}
		if at[f.Reference] == nil {
			at[f.Reference] = &source{ref: f.Reference}
			if in.Manifests != nil {
				at[f.Reference].where = in.Manifests.Places[i]
			}
			all = append(all, at[f.Reference])
		}
		at[f.Reference].targets = append(at[f.Reference].targets, f)
	}
	return all
}

func (in *Input) source(s *source) []Issue {
	object := s.ref.String()
	refused := slices.IndexFunc(s.targets, func(f *survey.Finding) bool { return f.State == survey.Refused && ofSource(f.Reason) })
	if refused >= 0 {
		return in.refused(object, s.targets[refused])
	}
	read := reading(s.targets[0].Known)
	if read.Problem != nil {
		return nil // it may not be read, which is a gap
	}
	return slices.Concat(in.expiring(object, read.Bundle), size(object, read), certificates(object, "the source", unique(read.Bundle.Certificates())))
}

// reading is what is known of a source: what caject publishes of it, if it may not be read.
func reading(known survey.Known) cabundle.Reading {
	problem := known.Reading.Problem
	if problem != nil && problem.Reason == cabundle.SourceForbidden && known.Published != nil {
		return survey.Announced(known.Published)
	}
	return known.Reading
}

// refused is about a source that cannot be injected; f is one of its targets.
func (in *Input) refused(object string, f *survey.Finding) []Issue {
	if in.Manifests == nil {
		return []Issue{issue(Code(f.Reason), object, f.Message, f.Remedy)}
	}
	made := in.Manifests.Made[f.Reference]
	switch {
	case f.Reason == cabundle.SourceNotFound && f.Reference.Kind == cabundle.APIServer, f.Reason == cabundle.SourceWithoutCA && made:
		return nil
	case f.Reason == cabundle.SourceNotAllowed && made:
		return []Issue{issue(Code(f.Reason), object, f.Message, f.Remedy+": in spec.secretTemplate of the Certificate that makes it")}
	case f.Reason == cabundle.SourceNotFound:
		return []Issue{issue(SourceElsewhere, object, "it is not among the manifests",
			"nothing, if it is made elsewhere: by cert-manager, an operator, or by hand")}
	case f.Reason == cabundle.SourceWithoutCA && f.Reference.Kind == cabundle.Secret:
		return []Issue{issue(OptInWithoutCA, object, "it allows injection, and has no ca.crt in the manifest",
			"nothing, if somebody fills it in later: until then nothing is injected")}
	}
	return []Issue{issue(Code(f.Reason), object, f.Message, f.Remedy)}
}

// expiring is about certificates of a source that end soon. If others are left, it is one step less bad. One that lives for weeks or days alone is renewed
// late: it counts as expiring in the last quarter of its life, and urgently in the last tenth.
func (in *Input) expiring(object string, bundle cabundle.Bundle) []Issue {
	var soon []*x509.Certificate
	worst, left := Info, 0
	for _, certificate := range bundle.Unexpired(in.Now).Certificates() {
		rest := certificate.NotAfter.Sub(in.Now)
		life := certificate.NotAfter.Sub(certificate.NotBefore)
		switch {
		case rest > in.ExpiresWithin, life < 4*DefaultExpiresWithin && rest > life/4:
			left++
			continue
		case rest <= min(urgent, life/10):
			worst = max(worst, Error)
		default:
			worst = max(worst, Warning)
		}
		soon = append(soon, certificate)
	}
	if len(soon) == 0 {
		return nil
	}
	first := slices.MinFunc(soon, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	message := fmt.Sprintf("%s %s soon, the first one on %s", list(soon), number(len(soon), "expires", "expire"), first.NotAfter.UTC().Format(time.RFC3339))
	if len(soon) == 1 {
		message = fmt.Sprintf("%s expires on %s", list(soon), first.NotAfter.UTC().Format(time.RFC3339))
	}
	if left > 0 {
		message += fmt.Sprintf("; %d that %s later %s beside it", left, number(left, "expires", "expire"), number(left, "is", "are"))
		worst--
	}
	return []Issue{issue(SourceExpiring, object, message, "its issuer has to renew it: with cert-manager, look at the conditions of its Certificate").as(worst)}
}

// size is about sources that hold too much, or what nobody can read.
func size(object string, read cabundle.Reading) []Issue {
	var issues []Issue
	bytes, certificates := len(read.Bundle.PEM()), len(read.Bundle.Certificates())
	if bytes > largeBytes || certificates > manyCertificates {
		issues = append(issues, issue(SourceLarge, object,
			fmt.Sprintf("it has %d certificates in %d bytes, of the %d that are allowed", certificates, bytes, cabundle.MaxSourceBytes),
			"keep only the CA certificates that are needed: any of them can issue a certificate for the server that is called"))
	}
	if twice := duplicated(read.Bundle); len(twice) > 0 {
		issues = append(issues, issue(CertificateDuplicated, object, "it holds "+list(twice)+" more than once", "take the second one out of ca.crt; it is injected once"))
	}
	if len(read.LeftOut) > 0 {
		issues = append(issues, issue(CertificateLeftOut, object, "the API server cannot read all of it: "+strings.Join(read.LeftOut, "; "),
			"have it issued anew, or take it out of ca.crt; it is not injected"))
	}
	return issues
}

// unused is about what caject publishes and no target names.
func (in *Input) unused() []Issue {
	named := map[string]bool{}
	for i := range in.Targets {
		named[in.Targets[i].Source] = true
	}
	var issues []Issue
	for _, source := range slices.Sorted(maps.Keys(in.Published)) {
		if !named[source] {
			issues = append(issues, issue(SourceUnused, source, "caject publishes it, and no object names it",
				"nothing, if an object that does is still to come or has just gone; else take away the annotation that has it published"))
		}
	}
	return issues
}
