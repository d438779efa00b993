package survey

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/cabundle/v1alpha1"
)

var at0 = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// ca returns a CA certificate that is valid at at0.
func ca(name string) []byte { return cabundletest.CA(name, at0.Add(-time.Hour), at0.Add(time.Hour)) }

// target returns a ValidatingWebhookConfiguration with one webhook for each caBundle.
func target(annotations map[string]string, caBundles ...[]byte) cabundle.Object {
	object := cabundle.Object{Target: cabundle.Target{Kind: cabundle.ValidatingWebhookConfiguration, Name: "a"}, Annotations: annotations}
	for i, caBundle := range caBundles {
		object.Fields = append(object.Fields, cabundle.Field{Path: "/webhooks/" + string(rune('0'+i)) + "/clientConfig/caBundle", Webhook: string(rune('a' + i)), CABundle: caBundle})
	}
	return object
}

// announced returns a CABundle with caBundle (PEM).
func announced(caBundle []byte) *v1alpha1.CABundle {
	published := &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: "secret.a.b"}, Spec: v1alpha1.CABundleSpec{Source: "secret/a/b"}}
	published.Status.CABundle = cabundle.Published{}.Next(cabundle.ParseExisting(caBundle), true).CABundle
	for _, certificate := range cabundle.ParseExisting(caBundle).Certificates() {
		published.Status.Certificates = append(published.Status.Certificates, v1alpha1.Certificate{Fingerprint: cabundle.Fingerprint(certificate)})
	}
	return published
}

func refusing(reason string) *v1alpha1.CABundle {
	published := announced(nil)
	published.Status.Conditions = []metav1.Condition{{Type: v1alpha1.Ready, Status: metav1.ConditionFalse, Reason: reason, Message: "caject may not read it"}}
	return published
}

// chainCase has what is wanted as marks: those of annotation, source, opt-in, ca.crt, published, and of each caBundle.
type chainCase struct {
	object cabundle.Object
	known  Known
	want   string
}

// chainCases are keyed by what is the matter.
func chainCases() map[string]chainCase {
	one, two := ca("one"), ca("two")
	old := cabundletest.CA("old", at0.Add(-2*time.Hour), at0.Add(-time.Hour))
	fromSecret := map[string]string{cabundle.InjectCAFromSecretAnnotation: "a/b"}
	fromCertificate := map[string]string{cabundle.InjectCAFromAnnotation: "a/b"}
	holds := func(text []byte) cabundle.Reading { return cabundle.Reading{Bundle: cabundle.ParseExisting(text)} }
	problem := func(reason cabundle.Reason, detail string) cabundle.Reading {
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: reason, Detail: detail}}
	}
	distrusted := holds(one)
	distrusted.Distrusted = []string{cabundle.Fingerprint(cabundle.ParseExisting(one).Certificates()[0])}
	return map[string]chainCase{
		"all is right":                              {target(fromSecret, one), Known{Reading: holds(one), Published: announced(one)}, "+++++ +"},
		"nothing is annotated":                      {target(nil, one), Known{}, "x---- -"},
		"a malformed annotation":                    {target(map[string]string{cabundle.InjectCAFromAnnotation: "b"}, one), Known{}, "x---- -"},
		"no source":                                 {target(fromSecret, one), Known{Reading: problem(cabundle.SourceNotFound, "Secret a/b does not exist")}, "+x--- -"},
		"the API server does not answer":            {target(fromSecret, one), Known{Reading: problem(cabundle.SourceUnavailable, "")}, "+x--- -"},
		"no opt-in":                                 {target(fromSecret, one), Known{Reading: problem(cabundle.SourceNotAllowed, "")}, "++x-- -"},
		"no ca.crt":                                 {target(fromSecret, one), Known{Reading: problem(cabundle.SourceWithoutCA, "Secret a/b has no key ca.crt")}, "+++x- -"},
		"a Certificate without secretName":          {target(fromCertificate, one), Known{Reading: problem(cabundle.SourceWithoutCA, "Certificate a/b has no spec.secretName")}, "+x--- -"},
		"all expired":                               {target(fromSecret, old), Known{Reading: holds(old), Published: announced(old)}, "+++x- -"},
		"all distrusted":                            {target(fromSecret, one), Known{Reading: distrusted, Published: announced(one)}, "+++x- -"},
		"nothing published, nothing held":           {target(fromSecret, nil), Known{Reading: holds(one)}, "++++x -"},
		"nothing published, filled all the same":    {target(fromSecret, one), Known{Reading: holds(one)}, "++++? +"},
		"published is not readable":                 {target(fromSecret, one), Known{Reading: holds(one), Unlisted: true}, "++++? +"},
		"caject may not read it":                    {target(fromSecret, one), Known{Reading: holds(one), Published: refusing("SourceForbidden")}, "++++x -"},
		"caject has not read it yet":                {target(fromSecret, nil), Known{Reading: holds(one), Published: announced(nil)}, "++++x -"},
		"it is not shown yet, filled all the same":  {target(fromSecret, one), Known{Reading: holds(one), Published: announced(nil)}, "++++? +"},
		"shown as missing, and there by now":        {target(fromSecret, one), Known{Reading: holds(one), Published: refusing("SourceNotFound")}, "++++? +"},
		"shown as missing, there, and not filled":   {target(fromSecret, nil), Known{Reading: holds(one), Published: refusing("SourceNotFound")}, "++++x -"},
		"published is behind":                       {target(fromSecret, one), Known{Reading: holds(two), Published: announced(one)}, "++++x -"},
		"published is behind, filled all the same":  {target(fromSecret, two), Known{Reading: holds(two), Published: announced(one)}, "++++? +"},
		"one of two webhooks lacks it":              {target(fromSecret, one, nil), Known{Reading: holds(one), Published: announced(one)}, "+++++ +x"},
		"webhooks that hold the same are one":       {target(fromSecret, one, nil, one), Known{Reading: holds(one), Published: announced(one)}, "+++++ +x"},
		"the source may not be read":                {target(fromSecret, one), Known{Reading: problem(cabundle.SourceForbidden, ""), Published: announced(one)}, "+???+ +"},
		"the source may not be read, by caject too": {target(fromSecret, one), Known{Reading: problem(cabundle.SourceForbidden, ""), Published: refusing("SourceForbidden")}, "+???x -"},
		"nothing may be read":                       {target(fromSecret, one, nil), Known{Reading: problem(cabundle.SourceForbidden, ""), Unlisted: true}, "+???? ?x"},
		"nothing may be read, and all hold some":    {target(fromSecret, one), Known{Reading: problem(cabundle.SourceForbidden, ""), Unlisted: true}, "+???? ?"},
		"the API server's CA needs no opt-in":       {target(map[string]string{cabundle.InjectAPIServerCAAnnotation: "true"}, one), Known{Reading: holds(one), Published: announced(one)}, "++++ +"},
		"no place for a caBundle": {
			cabundle.Object{Target: target(nil).Target, Annotations: fromSecret, NotInjectable: "it has no webhooks"}, Known{Reading: holds(one), Published: announced(one)}, "+++++ ?",
		},
	}
}

func TestWhereTheChainIsBroken(t *testing.T) {
	for name, test := range chainCases() {
		t.Run(name, func(t *testing.T) {
			inspection := InspectTarget(at0, Judge(at0, test.object, test.known))
			marks := map[LinkState]string{Holds: "+", Broken: "x", NotReached: "-", Unknown: "?"}
			got := ""
			for _, link := range inspection.Chain {
				if strings.HasPrefix(link.Name, bundleLink) && !strings.Contains(got, " ") {
					got += " "
				}
				got += marks[link.State]
			}
			if got != test.want {
				t.Errorf("the chain is %s, not %s: %+v", got, test.want, inspection.Chain)
			}
			if right := !strings.Contains(test.want, "x"); inspection.Right() != right {
				t.Errorf("right is %t", inspection.Right())
			}
		})
	}
}

func TestWhatAPlaceHolds(t *testing.T) {
	one := ca("one")
	for name, test := range map[string]struct {
		caBundle     []byte
		fault        string
		certificates int
	}{
		"a certificate":                    {one, "", 1},
		"a hundred":                        {bytes.Repeat(one, 100), "", 100},
		"more than a source may have":      {bytes.Repeat(one, 200), "", 200},
		"nothing":                          {nil, "it is absent", 0},
		"a line end":                       {[]byte("\n"), "it is a placeholder: white space", 0},
		"base64 of base64":                 {[]byte("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="), "it is a placeholder, or damaged: it holds no certificate: it is encoded in base64 twice", 0},
		"a template":                       {[]byte("{{ .Values.ca }}"), "it is a placeholder, or damaged: it holds no certificate", 0},
		"a private key":                    {append(cabundletest.PrivateKey(), one...), `it holds a block of type "EC PRIVATE KEY"`, 1},
		"one that Go cannot parse":         {cabundletest.NegativeSerial(one), "it is a placeholder, or damaged: it holds no certificate that the API server can read: certificate 1 of 1: negative serial number", 1},
		"one of two that Go cannot parse":  {append(cabundletest.NegativeSerial(one), one...), "the API server cannot read 1 of its certificates", 2},
		"headers that the API server skip": {bytes.Replace(one, []byte("-----\n"), []byte("-----\nA: b\n\n"), 1), "it has PEM headers in block 1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			places := InspectTarget(at0, Judge(at0, target(nil, test.caBundle), Known{})).Places
			if len(places) != 1 || places[0].Fault != test.fault || len(places[0].Certificates) != test.certificates || places[0].Bytes != len(test.caBundle) {
				t.Errorf("it is %+v", places)
			}
		})
	}
}

func TestWhichOfTheSourceACertificateIs(t *testing.T) {
	one, two, three := ca("one"), ca("two"), ca("three")
	published := announced(append(append([]byte{}, one...), two...))
	published.Status.Certificates[0].LastSeen = &metav1.Time{Time: at0}
	reading := cabundle.Reading{Bundle: cabundle.ParseExisting(two)}
	unread := cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceForbidden}}
	for name, test := range map[string]struct {
		known Known
		text  []byte
		want  string
	}{
		"of the source":           {Known{Reading: reading, Published: published}, two, "certificate 1 of the source"},
		"formerly":                {Known{Reading: reading, Published: published}, one, "a former one of the source, since 2026-06-15T12:00:00Z"},
		"somebody else's":         {Known{Reading: reading, Published: published}, three, "not of the source"},
		"by what is published":    {Known{Reading: unread, Published: published}, two, "certificate 1 of the source, as caject has read it"},
		"not by it":               {Known{Reading: unread, Published: published}, three, "not of the source"},
		"by the source alone":     {Known{Reading: reading}, one, "not of the source"},
		"nothing is known of it":  {Known{Reading: unread}, one, "whether it is of the source is not known"},
		"nothing is published":    {Known{Reading: unread, Published: announced(nil)}, one, "whether it is of the source is not known"},
		"a second one of several": {Known{Reading: cabundle.Reading{Bundle: cabundle.ParseExisting(append(append([]byte{}, one...), two...))}}, two, "certificate 2 of the source"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.known.origin(cabundle.ParseExisting(test.text).Certificates()[0]); got != test.want {
				t.Errorf("it is %q, not %q", got, test.want)
			}
		})
	}
}

func TestEventOf(t *testing.T) {
	early, late := metav1.NewTime(at0.Add(-time.Hour)), metav1.NewMicroTime(at0)
	for name, test := range map[string]struct {
		event corev1.Event
		want  Event
	}{
		"of the core API": {corev1.Event{Reason: "A", Count: 3, LastTimestamp: early, Source: corev1.EventSource{Component: "caject"}}, Event{Reason: "A", From: "caject", Count: 3, Last: early.Time}},
		"of events.k8s.io": {
			corev1.Event{Reason: "A", EventTime: metav1.NewMicroTime(early.Time), ReportingController: "caject", Series: &corev1.EventSeries{Count: 2, LastObservedTime: late}},
			Event{Reason: "A", From: "caject", Count: 2, Last: at0},
		},
		"with control characters": {corev1.Event{Message: "\x1b[2J", EventTime: late}, Event{Message: `\x1b[2J`, Last: at0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, eventOf(&test.event)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
