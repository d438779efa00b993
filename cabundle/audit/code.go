package audit

import (
	"fmt"
	"strings"

	"github.com/caject/caject/cabundle"
)

// Code says in one CamelCase word what an Issue is about. The words do not change from one release to the next. Where caject has a
// Reason for it, it is that one.
type Code string

// The codes beside caject's Reasons.
const (
	// PaddedAnnotation: there is white space around the value of an annotation.
	PaddedAnnotation Code = "PaddedAnnotation"
	// UnknownMode: the value of caject.io/inject-mode has no meaning.
	UnknownMode Code = "UnknownMode"
	// NothingInjected: the source is good, and a caBundle holds no certificate.
	NothingInjected Code = "NothingInjected"
	// PartlyInjected: the source is good, and a caBundle holds others than it should.
	PartlyInjected Code = "PartlyInjected"
	// Placeholder: a caBundle holds something without a certificate in it.
	Placeholder Code = "Placeholder"
	// InvalidCABundle: a manifest's caBundle is not base64.
	InvalidCABundle Code = "InvalidCABundle"
	// PrivateKeyExposed: a caBundle, which everybody can read, holds a private key.
	PrivateKeyExposed Code = "PrivateKeyExposed"
	// ForeignCA: a caBundle holds certificates that its source never had, as far as is known.
	ForeignCA Code = "ForeignCA"
	// ExpiredCertificate: a caBundle holds certificates that have expired.
	ExpiredCertificate Code = "ExpiredCertificate"
	// SourceExpiring: certificates of a source expire soon.
	SourceExpiring Code = "SourceExpiring"
	// SourceLarge: a source is near the limit, or has very many certificates.
	SourceLarge Code = "SourceLarge"
	// SourceUnused: caject publishes a source that no object names.
	SourceUnused Code = "SourceUnused"
	// SourceElsewhere: a source is not among the manifests.
	SourceElsewhere Code = "SourceElsewhere"
	// OptInWithoutCA: among the manifests is a Secret that opts in, and gets its ca.crt later.
	OptInWithoutCA Code = "OptInWithoutCA"
	// CertificateLeftOut: a source has certificates that the API server cannot read.
	CertificateLeftOut Code = "CertificateLeftOut"
	// CertificateDuplicated: a certificate stands there twice.
	CertificateDuplicated Code = "CertificateDuplicated"
	// CertificateNotCA: a certificate may not issue others.
	CertificateNotCA Code = "CertificateNotCA"
	// WeakKey: a certificate has a key that is too short.
	WeakKey Code = "WeakKey"
	// WeakSignature: a certificate is signed with MD5 or SHA-1.
	WeakSignature Code = "WeakSignature"
	// ServiceWithoutEndpoints: the Service that is called does not exist, or has no ready endpoint.
	ServiceWithoutEndpoints Code = "ServiceWithoutEndpoints"
	// RightsTooWide: caject may do more with Secrets than it needs.
	RightsTooWide Code = "RightsTooWide"
)

// Severity says how bad an Issue is; the larger one is worse.
type Severity int

// The severities.
const (
	Info Severity = iota + 1
	Warning
	Error
)

var severityNames = map[Severity]string{Info: "Info", Warning: "Warning", Error: "Error"}

// String returns Info, Warning or Error.
func (s Severity) String() string { return severityNames[s] }

// MarshalText makes it a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseSeverity reads what String returns, in any case.
func ParseSeverity(text string) (severity Severity, ok bool) {
	for severity, name := range severityNames {
		if strings.EqualFold(name, text) {
			return severity, true
		}
	}
	return 0, false
}

// kinds are all codes, and how bad each is at worst, in the order of docs/audit.md.
var kinds = []struct {
	code     Code
	severity Severity
}{
	{Code(cabundle.InvalidAnnotation), Error},
	{UnknownMode, Warning},
	{PaddedAnnotation, Info},
	{NothingInjected, Error},
	{PartlyInjected, Warning},
	{Code(cabundle.TargetTooLarge), Error},
	{Placeholder, Warning},
	{InvalidCABundle, Error},
	{PrivateKeyExposed, Error},
	{ForeignCA, Warning},
	{ExpiredCertificate, Info},
	{ServiceWithoutEndpoints, Error},
	{Code(cabundle.SourceNotFound), Error},
	{Code(cabundle.SourceNotAllowed), Error},
	{Code(cabundle.SourceWithoutCA), Error},
	{Code(cabundle.SourceInvalid), Error},
	{Code(cabundle.SourceTooLarge), Error},
	{Code(cabundle.SourceExpired), Error},
	{Code(cabundle.SourceDistrusted), Error},
	{Code(cabundle.SourceOutOfScope), Error},
	{Code(cabundle.SourceForbidden), Error},
	{Code(cabundle.SourceUnavailable), Warning},
	{Code(cabundle.InternalError), Error},
	{SourceExpiring, Error},
	{SourceLarge, Warning},
	{SourceUnused, Info},
	{SourceElsewhere, Info},
	{OptInWithoutCA, Info},
	{CertificateLeftOut, Warning},
	{CertificateDuplicated, Info},
	{CertificateNotCA, Warning},
	{WeakKey, Warning},
	{WeakSignature, Warning},
	{RightsTooWide, Error},
}

// Codes returns all codes.
func Codes() []Code {
	codes := make([]Code, len(kinds))
	for i, kind := range kinds {
		codes[i] = kind.code
	}
	return codes
}

// Severity returns how bad an Issue of c is at worst; 0 if there is no such code.
func (c Code) Severity() Severity {
	for _, kind := range kinds {
		if kind.code == c {
			return kind.severity
		}
	}
	return 0
}

// page is where each code has a heading.
const page = "https://github.com/caject/caject/blob/main/docs/audit.md"

// Link returns where more is to be read about c.
func (c Code) Link() string { return fmt.Sprintf("%s#%s", page, c.Anchor()) }

// Anchor returns the fragment of c's heading in docs/audit.md.
func (c Code) Anchor() string { return strings.ToLower(string(c)) }
