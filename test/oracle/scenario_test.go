package oracle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	cajectcluster "github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/playground"
)

// namespace is where the sources are.
const namespace = "oracle"

// origin is how a target names its source.
type origin string

const (
	fromSecret      origin = "Secret"
	fromCertificate origin = "Certificate"
	fromAPIServer   origin = "API server"
)

// A scenario is one target with its source, and what happens to them.
type scenario struct {
	name string
	kind cabundle.Kind
	from origin
	// broken says what is wrong with the source beside its ca.crt; empty if nothing is.
	broken string
	ca     content
	// held is what the manifest's caBundles hold: one for each webhook, one for the other kinds.
	held []content
	// rotated, if set, is what ca.crt is changed to once all is quiet.
	rotated content

	// For those that are not about contents.
	annotations map[string]string            // instead of those for from
	tweak       func(client.Object)          // changes the target before it is created
	then        func(*stage) error           // happens once all is quiet
	want        func(merging bool) []content // of caject, where it differs from the peer
	why         string
}

// stage is where a scenario is played: an API server with an injector.
type stage struct {
	context.Context
	*world
	id     string
	target client.Object
}

// id is the name of all objects of scenario number n.
func id(n int) string { return fmt.Sprintf("s%04d", n) }

// newTarget returns the target as its manifest has it.
func (s scenario) newTarget(on *stage) client.Object {
	id := on.id
	annotations := map[string]string{}
	switch {
	case s.annotations != nil:
		for key, value := range s.annotations {
			annotations[key] = strings.ReplaceAll(value, "$ID", id)
		}
	case s.from == fromAPIServer:
		annotations[cabundle.InjectAPIServerCAAnnotation] = "true"
	default:
		annotations[s.annotation()] = namespace + "/" + id
	}
	var target client.Object
	switch s.kind {
	case cabundle.ValidatingWebhookConfiguration:
		target = playground.NewValidating(id, len(s.held), annotations)
	case cabundle.MutatingWebhookConfiguration:
		target = playground.NewMutating(id, len(s.held), annotations)
	case cabundle.CustomResourceDefinition:
		target = playground.NewCRD(id, annotations)
	case cabundle.APIService:
		target = playground.NewAPIService(id, annotations)
	}
	values := make([][]byte, len(s.held))
	for i, held := range s.held {
		values[i] = on.denormalize(held.bytes())
	}
	playground.SetEachCABundle(target, values)
	if s.tweak != nil {
		s.tweak(target)
	}
	return target
}

func (s scenario) annotation() string {
	if s.from == fromCertificate {
		return cabundle.InjectCAFromAnnotation
	}
	return cabundle.InjectCAFromSecretAnnotation
}

// What can be wrong with a source.
const (
	noSecret      = "there is no Secret"
	noCertificate = "there is no Certificate"
	noOptIn       = "the Secret has no annotation"
	wrongOptIn    = "the Secret has the wrong annotation"
	noKey         = "the Secret has no ca.crt"
)

// newSources returns the objects that make up the source.
func (s scenario) newSources(id string) []client.Object {
	if s.from == fromAPIServer {
		return nil
	}
	var objects []client.Object
	if s.from == fromCertificate && s.broken != noCertificate {
		objects = append(objects, newCertificate(id))
	}
	if s.broken == noSecret {
		return objects
	}
	secret := playground.NewSecret(namespace, id, s.ca.bytes())
	if s.from == fromCertificate {
		secret.Annotations = map[string]string{cabundle.CertificateNameAnnotation: id}
	}
	switch s.broken {
	case noOptIn:
		secret.Annotations = nil
	case wrongOptIn:
		for key := range secret.Annotations {
			secret.Annotations[key] = "True"
		}
	case noKey:
		secret.Data = map[string][]byte{"tls.crt": s.ca.bytes()}
	}
	return append(objects, secret)
}

func newCertificate(id string) *unstructured.Unstructured {
	certificate := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": namespace, "name": id},
		"spec": map[string]any{
			"secretName": id,
			"dnsNames":   []any{"example.com"},
			"issuerRef":  map[string]any{"name": "issuer"},
		},
	}}
	certificate.SetGroupVersionKind(cajectcluster.CertificateKind)
	return certificate
}

// later does what happens once all is quiet.
func (s scenario) later(on *stage) error {
	if s.rotated != "" {
		if err := on.setCA(on.id, s.rotated); err != nil {
			return err
		}
	}
	if s.then != nil {
		return s.then(on)
	}
	return nil
}

// expected is what each caBundle of the target should hold in caject, and why it may differ from what the peer makes of it.
func (s scenario) expected(merging bool) ([]content, string) {
	if s.want != nil {
		return s.want(merging), s.why
	}
	var all []content
	reason := ""
	for _, held := range s.held {
		if s.broken == "" && s.annotations == nil && s.then == nil && s.tweak == nil {
			cas := []content{s.ca}
			if s.rotated != "" {
				cas = append(cas, s.rotated)
			}
			for _, ca := range cas {
				var why string
				if held, why = deliver(held, ca, merging); why != "" && reason == "" {
					reason = why
				}
			}
		}
		all = append(all, held)
	}
	return all, reason
}

// contents returns scenarios about what sources and targets hold: all kinds, all sources, and the states of both.
func contents() []scenario {
	var all []scenario
	for _, kind := range cabundle.Kinds() {
		add := func(s scenario) {
			s.kind = kind
			if s.held == nil {
				s.held = []content{"A"}
			}
			all = append(all, s)
		}
		for _, from := range []origin{fromSecret, fromCertificate} {
			for _, ca := range []content{
				"A", "A B", "A A", "# A # B", "A cut", "A crlf", "X A", "A X N", "N", "X", "X Y", "", "nl", "text", "A text B",
				"A key", "key", "A neg", "neg B", "neg", "A bad", "bad", "hdr", "A big",
			} {
				for _, held := range []content{"", "B"} {
					add(scenario{name: fmt.Sprintf("a %s with [%s], a target with [%s]", from, ca, held), from: from, ca: ca, held: []content{held}})
				}
			}
			for _, broken := range []string{noSecret, noCertificate, noOptIn, wrongOptIn, noKey} {
				if broken == noCertificate && from == fromSecret {
					continue
				}
				for _, held := range []content{"", "B # X"} {
					add(scenario{name: fmt.Sprintf("a %s, but %s; a target with [%s]", from, broken, held), from: from, broken: broken, ca: "A", held: []content{held}})
				}
			}
			add(scenario{name: fmt.Sprintf("a %s that is rotated", from), from: from, ca: "A", rotated: "B", held: []content{""}})
			add(scenario{name: fmt.Sprintf("a %s that is rotated twice over", from), from: from, ca: "A B", rotated: "C A", held: []content{"D"}})
			add(scenario{name: fmt.Sprintf("a %s that becomes bad", from), from: from, ca: "A", rotated: "B key", held: []content{""}})
			add(scenario{name: fmt.Sprintf("a %s that becomes good", from), from: from, ca: "A bad", rotated: "B", held: []content{"C"}})
		}
		for _, from := range []origin{fromSecret, fromCertificate, fromAPIServer} {
			for _, held := range []content{"A", "nl", "text", "A B", "B A", "B B A", "X B", "X", "N", "A #", "# A", "A cut", "A crlf", "B text", "B neg", "B bad", "bad B", "B key", "B hdr", "key"} {
				ca := content("A")
				if from == fromAPIServer {
					ca, held = "S", content(strings.ReplaceAll(string(held), "A", "S"))
				}
				add(scenario{name: fmt.Sprintf("a good %s, a target with [%s]", from, held), from: from, ca: ca, held: []content{held}})
			}
		}
	}
	return all
}

// specials returns the scenarios that are not about contents.
func specials() []scenario {
	var all []scenario
	for _, kind := range cabundle.Kinds() {
		all = append(all, special(kind)...)
	}
	return all
}

func special(kind cabundle.Kind) []scenario {
	secret := func(value string) map[string]string {
		return map[string]string{cabundle.InjectCAFromSecretAnnotation: value}
	}
	certificate := func(value string) map[string]string { return map[string]string{cabundle.InjectCAFromAnnotation: value} }
	// A CRD cannot be reset, unless admission fills it in the same request.
	reset := func(s *stage) error {
		if err := s.setBundles("nl"); !apierrors.IsInvalid(err) {
			return err
		}
		return nil
	}
	restored := func(merging bool) []content {
		if merging {
			return []content{"C A"}
		}
		return []content{"A"}
	}
	all := []scenario{
		{name: "no annotation", annotations: map[string]string{"cert-manager.io/other": "oracle/$ID"}},
		{name: "two annotations: that of the Secret counts", from: fromSecret, annotations: map[string]string{
			cabundle.InjectCAFromSecretAnnotation: "oracle/$ID", cabundle.InjectCAFromAnnotation: "oracle/missing", cabundle.InjectAPIServerCAAnnotation: "true",
		}},
		{name: "two annotations: no fall-back from a Secret that is missing", from: fromCertificate, annotations: map[string]string{
			cabundle.InjectCAFromSecretAnnotation: "oracle/missing", cabundle.InjectCAFromAnnotation: "oracle/$ID",
		}},
		{name: "two annotations: no fall-back from an empty one", from: fromCertificate, annotations: map[string]string{
			cabundle.InjectCAFromSecretAnnotation: "", cabundle.InjectCAFromAnnotation: "oracle/$ID",
		}},
		{name: "two annotations: that of the Certificate before that of the API server", from: fromCertificate, annotations: map[string]string{
			cabundle.InjectCAFromAnnotation: "oracle/$ID", cabundle.InjectAPIServerCAAnnotation: "true",
		}},
		{name: "the annotation is removed, then the source is rotated", from: fromSecret, then: func(s *stage) error {
			return inOrder(s.annotate(s.annotationOf(), ""), s.setCA(s.id, "B"))
		}},
		{name: "the annotation is added later", from: fromSecret, annotations: map[string]string{}, then: func(s *stage) error {
			return s.annotate(cabundle.InjectCAFromSecretAnnotation, namespace+"/"+s.id)
		}},
		{name: "another source is named", from: fromSecret, then: func(s *stage) error {
			return inOrder(s.Create(playground.NewSecret(namespace, s.id+"x", content("B").bytes())),
				s.annotate(cabundle.InjectCAFromSecretAnnotation, namespace+"/"+s.id+"x"))
		}},
		{name: "the source is deleted", from: fromSecret, then: func(s *stage) error { return s.deleteSecret() }},
		{name: "the source is made anew with another CA", from: fromSecret, then: func(s *stage) error {
			return inOrder(s.deleteSecret(), s.Create(playground.NewSecret(namespace, s.id, content("B").bytes())))
		}},
		{name: "the source comes later", from: fromSecret, broken: noSecret, then: func(s *stage) error {
			return s.Create(playground.NewSecret(namespace, s.id, content("B").bytes()))
		}},
		{name: "the source opts in later", from: fromSecret, broken: noOptIn, then: func(s *stage) error {
			return s.changeSecret(s.id, func(secret *corev1.Secret) {
				secret.Annotations = map[string]string{cabundle.AllowDirectInjectionAnnotation: "true"}
				secret.Data["ca.crt"] = content("B").bytes()
			})
		}},
		{name: "the source withdraws its opt-in, then is rotated", from: fromSecret, then: func(s *stage) error {
			return s.changeSecret(s.id, func(secret *corev1.Secret) {
				secret.Annotations = nil
				secret.Data["ca.crt"] = content("B").bytes()
			})
		}},
		{name: "ca.crt comes later", from: fromSecret, broken: noKey, then: func(s *stage) error { return s.setCA(s.id, "B") }},
		{name: "the Certificate names another Secret", from: fromCertificate, then: func(s *stage) error {
			other := playground.NewSecret(namespace, s.id+"x", content("B").bytes())
			other.Annotations = map[string]string{cabundle.CertificateNameAnnotation: s.id}
			return inOrder(s.Create(other), s.renameSecret(s.id+"x"))
		}},
		{name: "the Certificate comes later", from: fromCertificate, broken: noCertificate, then: func(s *stage) error { return s.Create(newCertificate(s.id)) }},
		{name: "the target is reset to a placeholder", from: fromSecret, then: reset, why: restores, want: restored},
		{name: "the target is emptied", from: fromSecret, then: func(s *stage) error { return s.setBundles("") }, why: restores, want: restored},
		{name: "somebody adds a CA to the target", from: fromSecret, then: func(s *stage) error { return s.setBundles("D") }},
		{name: "a good target is reset while the source is missing", from: fromSecret, broken: noSecret, then: reset, why: restores, want: func(bool) []content {
			return []content{"C"}
		}},
		{name: "the target is being deleted", from: fromSecret,
			tweak: func(o client.Object) { o.SetFinalizers([]string{"example.com/wait"}) },
			then: func(s *stage) error {
				return inOrder(s.client.Delete(s, s.target), s.setCA(s.id, "B"))
			}},
	}
	for _, value := range []string{"", "oracle", "oracle/", "/$ID", "oracle/$ID/x"} {
		all = append(all,
			scenario{name: fmt.Sprintf("inject-ca-from-secret: %q", value), from: fromSecret, annotations: secret(value)},
			scenario{name: fmt.Sprintf("inject-ca-from: %q", value), from: fromCertificate, annotations: certificate(value)})
	}
	for _, value := range []string{" oracle/$ID", "oracle/$ID\n"} {
		all = append(all,
			scenario{name: fmt.Sprintf("inject-ca-from-secret: %q", value), from: fromSecret, annotations: secret(value), why: trims, want: restored},
			scenario{name: fmt.Sprintf("inject-ca-from: %q", value), from: fromCertificate, annotations: certificate(value), why: trims, want: restored})
	}
	for _, value := range []string{"", "True", "false", "yes"} {
		all = append(all, scenario{name: fmt.Sprintf("inject-apiserver-ca: %q", value), annotations: map[string]string{cabundle.InjectAPIServerCAAnnotation: value}})
	}
	all = append(all, specialOf(kind)...)
	for i := range all {
		all[i].kind = kind
		if all[i].ca == "" {
			all[i].ca = "A"
		}
		if all[i].held == nil {
			all[i].held = []content{"C"}
		}
	}
	return all
}

// specialOf returns those that only one kind knows.
func specialOf(kind cabundle.Kind) []scenario {
	url := "https://webhook.example.com/"
	switch kind {
	case cabundle.CustomResourceDefinition:
		return []scenario{{name: "strategy None", from: fromSecret, tweak: func(o client.Object) {
			o.(*apiextensionsv1.CustomResourceDefinition).Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
		}}, {name: "no conversion", from: fromSecret, tweak: func(o client.Object) {
			o.(*apiextensionsv1.CustomResourceDefinition).Spec.Conversion = nil
		}}, {name: "a URL", from: fromSecret, tweak: func(o client.Object) {
			clientConfig := o.(*apiextensionsv1.CustomResourceDefinition).Spec.Conversion.Webhook.ClientConfig
			clientConfig.Service, clientConfig.URL = nil, &url
		}}}
	case cabundle.APIService:
		return []scenario{{name: "insecureSkipTLSVerify", from: fromSecret, tweak: func(o client.Object) {
			spec := &o.(*apiregistrationv1.APIService).Spec
			spec.CABundle, spec.InsecureSkipTLSVerify = nil, true
		}}, {name: "no service", from: fromSecret, tweak: func(o client.Object) {
			spec := &o.(*apiregistrationv1.APIService).Spec
			spec.CABundle, spec.Service = nil, nil
		}}}
	}
	return []scenario{
		{name: "no webhooks", from: fromSecret, held: []content{}},
		{name: "three webhooks that hold different things", from: fromSecret, held: []content{"", "B", "A X"}, rotated: "D"},
		{name: "a URL", from: fromSecret, tweak: func(o client.Object) {
			var clientConfig *admissionregistrationv1.WebhookClientConfig
			switch c := o.(type) {
			case *admissionregistrationv1.ValidatingWebhookConfiguration:
				clientConfig = &c.Webhooks[0].ClientConfig
			case *admissionregistrationv1.MutatingWebhookConfiguration:
				clientConfig = &c.Webhooks[0].ClientConfig
			}
			clientConfig.Service, clientConfig.URL = nil, &url
		}},
	}
}

// inOrder returns the first error. Its arguments have happened in their order.
func inOrder(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// generated returns n scenarios of random contents.
func generated(random *rand.Rand, n int) []scenario {
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	randomContents := func(odd ...string) content {
		var words []string
		for range random.IntN(4) {
			if random.IntN(6) == 0 {
				words = append(words, pick(odd...))
			} else {
				words = append(words, pick("A", "B", "C", "D", "A", "B", "X", "N", "#"))
			}
		}
		if len(words) > 0 && random.IntN(10) == 0 {
			words = append(words, pick("cut", "crlf"))
		}
		return content(strings.Join(words, " "))
	}
	all := make([]scenario, n)
	for i := range all {
		s := scenario{from: fromSecret}
		kinds := []cabundle.Kind{
			cabundle.ValidatingWebhookConfiguration, cabundle.ValidatingWebhookConfiguration, cabundle.MutatingWebhookConfiguration,
			cabundle.MutatingWebhookConfiguration, cabundle.APIService, cabundle.CustomResourceDefinition,
		}
		s.kind = kinds[random.IntN(len(kinds))]
		webhooks := 1
		if !s.kind.Admitted() {
			webhooks += random.IntN(3)
		}
		for range webhooks {
			s.held = append(s.held, randomContents("bad", "neg", "key", "hdr", "text", "nl", "Y"))
		}
		switch random.IntN(8) {
		case 0:
			s.from = fromAPIServer
		case 1, 2, 3:
			s.from = fromCertificate
		}
		s.ca = randomContents("bad", "neg", "key", "hdr", "text", "nl", "Y")
		if s.from == fromAPIServer {
			s.ca = "S"
		} else if random.IntN(2) == 0 {
			s.rotated = randomContents("bad", "neg", "key", "hdr", "text", "Y")
		}
		if s.from != fromAPIServer && random.IntN(8) == 0 {
			s.broken = pick(noSecret, noOptIn, wrongOptIn, noKey)
			s.rotated = ""
		}
		s.name = fmt.Sprintf("generated %d: %s %s [%s], then [%s]; targets %q", i, s.from, s.broken, s.ca, s.rotated, s.held)
		all[i] = s
	}
	return all
}
