package survey

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caject/caject/cabundle"
)

// Verdict says in one word whether the API server would accept what a server serves.
type Verdict string

// The verdicts.
const (
	Verified         Verdict = "Verified"
	UnknownAuthority Verdict = "UnknownAuthority"
	WrongName        Verdict = "WrongName"
	Expired          Verdict = "Expired"
	// NotAccepted: something else is wrong with the certificate.
	NotAccepted Verdict = "NotAccepted"
	// NoBundle: the caBundle holds no certificate, so the API server goes by the CAs of its own machine.
	NoBundle Verdict = "NoBundle"
	// NotServed: no certificate was served, for nobody was reached.
	NotServed Verdict = "NotServed"
)

// Dial is what a server behind a caBundle serves, and what comes of it.
type Dial struct {
	// Webhooks are as in a Place.
	Webhooks []string `json:"webhooks,omitempty"`
	// Server is what the API server calls, and ServerName the name that the certificate has to be for.
	Server     string `json:"server"`
	ServerName string `json:"serverName"`
	// Way says how it was reached from here.
	Way string `json:"way,omitempty"`
	// Served are the certificates that it sent, its own first.
	Served  []Certificate `json:"served,omitempty"`
	Verdict Verdict       `json:"verdict"`
	// Message and Remedy are as in a Finding.
	Message string `json:"message,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
}

// Serves completes d by what the server has sent: whether the API server, which trusts caBundle, would accept it at now.
func (d *Dial) Serves(now time.Time, served []*x509.Certificate, caBundle []byte) {
	for i, certificate := range served {
		d.Served = append(d.Served, describe(now, i+1, certificate))
	}
	bundle := cabundle.ParseExisting(caBundle)
	switch {
	case len(served) == 0:
		d.Verdict, d.Message = NotServed, "the server has sent no certificate"
		return
	case bundle.Empty():
		d.Verdict, d.Message = NoBundle, "there is no certificate in the caBundle: the API server goes by the CAs of its own machine"
		return
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, ca := range bundle.Certificates() {
		roots.AddCert(ca)
	}
	for _, certificate := range served[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := served[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: d.ServerName, CurrentTime: now})
	d.judge(err, now, served[0], bundle)
}

// judge says what err means, which crypto/x509 has returned for leaf and bundle.
func (d *Dial) judge(err error, now time.Time, leaf *x509.Certificate, bundle cabundle.Bundle) {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		d.Verdict, d.Message = Verified, "the API server accepts it"
	case errors.As(err, &name):
		d.Verdict, d.Message = WrongName, "it is not for "+d.ServerName+", but for "+namesOrNone(leaf)
		d.Remedy = "have the server's certificate issued for that name, or correct the target's clientConfig"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		which := invalid.Cert
		d.Verdict, d.Message = Expired, Printable(which.Subject.String())+": "+validity(now, which.NotBefore, which.NotAfter)
		d.Remedy = "renew it, or let the server load the renewed one"
	case errors.As(err, &unknown):
		d.Verdict, d.Message = UnknownAuthority, "no certificate of the caBundle has issued it: "+issuers(leaf, bundle)
		d.Remedy = "the server serves an old certificate, or the source is not the one that issues it"
	default:
		d.Verdict, d.Message = NotAccepted, Printable(err.Error())
	}
}

func namesOrNone(leaf *x509.Certificate) string {
	names := namesOf(leaf)
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names, ", ")
}

// issuers says who has issued leaf, and who is in bundle, by key identifier: names may be the same after a rotation.
func issuers(leaf *x509.Certificate, bundle cabundle.Bundle) string {
	var held []string
	for _, ca := range bundle.Certificates() {
		if id := keyID(ca.SubjectKeyId); !slices.Contains(held, id) {
			held = append(held, id)
		}
	}
	const most = 3
	more := ""
	if len(held) > most {
		held, more = held[:most], fmt.Sprintf(" and %d more", len(held)-most)
	}
	return fmt.Sprintf("its issuer is %s with key %s, the caBundle has keys %s%s",
		named(leaf.Issuer.String()), keyID(leaf.AuthorityKeyId), strings.Join(held, ", "), more)
}

// keyID shows a key identifier.
func keyID(id []byte) string {
	if len(id) == 0 {
		return "(none)"
	}
	return fmt.Sprintf("%x", id[:min(len(id), 20)])
}
