package audit

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// settling is how long an injector may take for a new object before anything is wrong.
const settling = 2 * time.Minute

// target returns what is to be said of one target, what is of its source aside.
func (in *Input) target(f *survey.Finding) []Issue {
	object := survey.Argument(f.Target())
	issues := annotations(object, f)
	switch {
	case f.State == survey.NotInjectable:
		return issues
	case f.State == survey.Refused && !ofSource(f.Reason):
		issues = append(issues, issue(Code(f.Reason), object, f.Message, in.remedy(f)))
	case f.State == survey.Pending && in.Manifests == nil:
		issues = append(issues, in.pending(object, f))
	}
	issues = append(issues, contents(object, f)...)
	issues = append(issues, in.certificatesOf(object, f)...)
	return append(issues, in.services(object, f)...)
}

// ofSource reports whether reason is about the source, so that it is said of that, once.
func ofSource(reason cabundle.Reason) bool {
	return strings.HasPrefix(string(reason), "Source") || reason == cabundle.InternalError
}

// remedy is that of the finding; of a manifest that is not rendered yet, another one.
func (in *Input) remedy(f *survey.Finding) string {
	for _, value := range f.Object.Annotations {
		unresolved := strings.Contains(value, "$(") || strings.Contains(value, "CERTIFICATE_NAME")
		if in.Manifests != nil && f.Reason == cabundle.InvalidAnnotation && unresolved {
			return "it is to be replaced by kustomize: audit what kubectl kustomize prints"
		}
	}
	return f.Remedy
}

// annotations returns what is odd about them, and harmless to caject.
func annotations(object string, f *survey.Finding) []Issue {
	var issues []Issue
	if padded := cabundle.PaddedAnnotation(f.Object.Annotations); padded != "" && f.Reason != cabundle.InvalidAnnotation {
		issues = append(issues, issue(PaddedAnnotation, object,
			fmt.Sprintf("there is white space around the value of annotation %s: caject leaves it out, cert-manager's cainjector does not", padded),
			"write the value without it; in YAML, |- in place of | leaves out the line end"))
	}
	if mode := cabundle.UnknownMode(f.Object.Annotations); mode != "" {
		issues = append(issues, issue(UnknownMode, object,
			fmt.Sprintf("annotation %s: %s has no meaning, so certificates are merged", cabundle.ModeAnnotation, mode),
			`it is "merge" or "replace"`))
	}
	return issues
}

// pending is about a target that lacks something of its source.
func (in *Input) pending(object string, f *survey.Finding) Issue {
	code := PartlyInjected
	if slices.ContainsFunc(f.Object.Fields, func(field cabundle.Field) bool { return cabundle.ParseExisting(field.CABundle).Empty() }) {
		code = NothingInjected
	}
	found := issue(code, object, f.Message, f.Remedy)
	if f.Created != nil && in.Now.Sub(*f.Created) < settling {
		found.Message += "; it is new, and may be filled yet"
		return found.as(Info)
	}
	return found
}

// contents returns what the caBundles hold that is no certificate.
func contents(object string, f *survey.Finding) []Issue {
	var junk, keys []string
	for _, field := range f.Object.Fields {
		if field.CABundle != nil && cabundle.ParseExisting(field.CABundle).Empty() {
			junk = append(junk, field.Webhook)
		}
		if holdsKey(field.CABundle) {
			keys = append(keys, field.Webhook)
		}
	}
	var issues []Issue
	if len(junk) > 0 {
		issues = append(issues, issue(Placeholder, object, "its caBundle is a placeholder, without a certificate"+at(junk),
			"leave caBundle out of the manifest: the API server cannot use a placeholder, and applying it again takes the injected one away"))
	}
	if len(keys) > 0 {
		issues = append(issues, issue(PrivateKeyExposed, object, "its caBundle holds a private key, and everybody may read it"+at(keys),
			"make a new key and CA, and take the key out of ca.crt; caject then removes it from the caBundle, and copies none"))
	}
	return issues
}

// holdsKey reports whether a block of caBundle (PEM) is a private key.
func holdsKey(caBundle []byte) bool {
	if !bytes.Contains(caBundle, []byte("PRIVATE KEY-----")) {
		return false
	}
	for {
		var block *pem.Block
		if block, caBundle = pem.Decode(caBundle); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return true
		}
	}
}

// notBase64 is about the target with the given number.
func (m *Manifests) notBase64(number int, f *survey.Finding) []Issue {
	if len(m.Broken[number]) == 0 {
		return nil
	}
	return []Issue{issue(InvalidCABundle, survey.Argument(f.Target()), "its caBundle is not base64, so the API server refuses the object"+at(m.Broken[number]),
		"leave caBundle out of the manifest; if it has to be there, it is base64 of the PEM")}
}

// certificatesOf returns what is to be said of the certificates that the target holds beside those of its source.
func (in *Input) certificatesOf(object string, f *survey.Finding) []Issue {
	var issues []Issue
	source := reading(f.Known)
	var expired, others []*x509.Certificate
	for _, field := range f.Object.Fields {
		held := cabundle.ParseExisting(field.CABundle)
		if twice := duplicated(held); len(twice) > 0 {
			issues = append(issues, issue(CertificateDuplicated, object, "its caBundle holds "+list(twice)+" more than once"+at([]string{field.Webhook}), ""))
		}
		for _, certificate := range held.Certificates() {
			switch {
			case in.Now.After(certificate.NotAfter):
				expired = append(expired, certificate)
			case !source.Bundle.Holds(certificate):
				others = append(others, certificate)
			}
		}
	}
	expired, others = unique(expired), unique(others)
	if len(expired) > 0 {
		issues = append(issues, issue(ExpiredCertificate, object, "its caBundle holds "+list(expired)+", which "+have(expired)+" expired",
			"nothing: it does no harm, and leaves when the caBundle is next written"))
	}
	if f.State != survey.Refused && !source.Bundle.Empty() && !cabundle.Replaces(f.Object.Annotations) {
		issues = append(issues, foreign(object, f, others)...)
	}
	return append(issues, certificates(object, "its caBundle", others)...)
}

// foreign is about the certificates of others that the source never had, as far as is known.
func foreign(object string, f *survey.Finding, others []*x509.Certificate) []Issue {
	published := f.Known.Published
	if published != nil {
		once := cabundle.Published{CABundle: published.Status.CABundle}.Bundle()
		others = slices.DeleteFunc(slices.Clone(others), once.Holds)
	}
	if len(others) == 0 {
		return nil
	}
	found := issue(ForeignCA, object, "its caBundle holds "+list(others)+", which "+are(others)+" not of its source",
		"if whoever issued it should not be trusted here, annotation "+cabundle.ModeAnnotation+": replace removes it")
	if published == nil { // of former ones nothing is known
		found.Message += "; a former one of the source, maybe"
		found = found.as(Info)
	}
	return []Issue{found}
}

// services is about what the API server calls.
func (in *Input) services(object string, f *survey.Finding) []Issue {
	var issues []Issue
	seen := map[string]bool{}
	for _, field := range f.Object.Fields {
		service, known := in.Services[field.Service]
		if !known || seen[field.Service] {
			continue
		}
		seen[field.Service] = true
		switch {
		case !service.Exists:
			issues = append(issues, issue(ServiceWithoutEndpoints, object, "Service "+field.Service+", which it calls, does not exist",
				"install what it belongs to, or delete the object: nothing answers these calls"))
		case !service.Ready:
			issues = append(issues, issue(ServiceWithoutEndpoints, object, "Service "+field.Service+", which it calls, has no ready endpoint",
				"look at its pods; no caBundle changes that"))
		}
	}
	return issues
}

// at names webhooks; kinds with one caBundle have none.
func at(webhooks []string) string {
	if webhooks[0] == "" {
		return ""
	}
	return " (" + firstOf(webhooks) + ")"
}

// firstOf joins the first few of all.
func firstOf(all []string) string {
	const most = 3
	if more := len(all) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), more)
	}
	return strings.Join(all, ", ")
}
