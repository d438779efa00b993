package cabundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/caject/caject/cabundle/cabundletest"
)

type injectTest struct {
	held   []byte // by the object
	old    []byte // by the object before the update; "none" if there was no object
	source []byte
	want   []byte
	reason Reason
}

func TestInjectMerges(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	expired := expiredCA("expired")
	testInject(t, Merge, map[string]injectTest{
		"an absent caBundle is filled":             {held: nil, old: none, source: a, want: a},
		"an empty one":                             {held: []byte{}, old: none, source: a, want: a},
		"the placeholder Cg==":                     {held: []byte("\n"), old: none, source: a, want: a},
		"junk":                                     {held: []byte("junk"), old: none, source: a, want: a},
		"a good one is merged":                     {held: a, old: none, source: b, want: concat(a, b)},
		"a right one is left alone":                {held: a, old: none, source: a, want: a},
		"a right one with a comment is left alone": {held: concat([]byte("# a\n"), a), old: none, source: a, want: concat([]byte("# a\n"), a)},
		"a right one without the last newline is left alone":   {held: a[:len(a)-1], old: none, source: a, want: a[:len(a)-1]},
		"a right one beside a key is cleaned":                  {held: concat(a, cabundletest.PrivateKey()), old: none, source: a, want: a},
		"a right one twice is cleaned":                         {held: concat(a, a), old: none, source: a, want: a},
		"of a partly damaged one the good certificates stay":   {held: concat(a, []byte("-----BEGIN CERTIFICATE-----\n!\n")), old: none, source: b, want: concat(a, b)},
		"an update to a placeholder keeps what was there":      {held: []byte("\n"), old: a, source: b, want: concat(a, b)},
		"an update to nothing keeps what was there":            {held: nil, old: a, source: a, want: a},
		"an update to another CA does not bring the old back":  {held: c, old: a, source: b, want: concat(c, b)},
		"a placeholder over a placeholder":                     {held: []byte("\n"), old: []byte("\n"), source: a, want: a},
		"without a source, a placeholder over a good one":      {held: []byte("\n"), old: a, source: nil, want: a},
		"without a source, nothing over a good one":            {held: nil, old: a, source: nil, want: a},
		"without a source, what is there stays":                {held: b, old: a, source: nil, want: b},
		"without a source, a placeholder stays":                {held: []byte("\n"), old: none, source: nil, want: []byte("\n")},
		"without a source, nothing is pruned":                  {held: concat(a, expired), old: none, source: nil, want: concat(a, expired)},
		"expired ones are pruned":                              {held: concat(expired, a), old: none, source: b, want: concat(a, b)},
		"an expired source does not replace a good one":        {held: a, old: none, source: expired, want: a, reason: SourceExpired},
		"an expired source fills nothing":                      {held: nil, old: none, source: expired, want: nil, reason: SourceExpired},
		"an expired source, a placeholder over a good one":     {held: []byte("\n"), old: a, source: expired, want: a, reason: SourceExpired},
		"an expired bundle is replaced by a good one":          {held: expired, old: none, source: a, want: a},
		"an expired bundle is worth more than none":            {held: expired, old: none, source: expired, want: expired, reason: SourceExpired},
		"what was there before the update expired: source new": {held: nil, old: expired, source: a, want: a},
	})
}

func TestInjectReplaces(t *testing.T) {
	a, b := ca("a"), ca("b")
	expired := expiredCA("expired")
	tests := map[string]injectTest{
		"an absent caBundle is filled":                          {held: nil, old: none, source: a, want: a},
		"a good one is replaced":                                {held: a, old: none, source: b, want: b},
		"a right one is left alone":                             {held: a, old: none, source: a, want: a},
		"a right one with a comment is left alone":              {held: concat([]byte("# a\n"), a), old: none, source: a, want: concat([]byte("# a\n"), a)},
		"an update to a placeholder takes the source's":         {held: []byte("\n"), old: a, source: b, want: b},
		"without a source, a placeholder over a good one":       {held: []byte("\n"), old: a, source: nil, want: a},
		"the source's duplicates and expired ones are kept":     {held: a, old: none, source: concat(b, b, expired), want: concat(b, b, expired)},
		"an expired source does not replace a good one":         {held: a, old: none, source: expired, want: a, reason: SourceExpired},
		"comments of the source and what was there are gone":    {held: concat([]byte("# a\n"), a), old: none, source: concat([]byte("# b\n"), b), want: b},
		"a damaged bundle is replaced":                          {held: concat(a, []byte("-----BEGIN CERTIFICATE-----\n!\n")), old: none, source: b, want: b},
		"without a source, what is there stays, damaged or not": {held: []byte("junk"), old: none, source: nil, want: []byte("junk")},
	}
	replacing := ParseObject(APIService, []byte(`{"metadata": {"annotations": {"caject.io/inject-mode": "replace"}}}`)).Annotations
	for sentence, combine := range map[string]Combine{
		"wherever caject is told to":   Replace,
		"where the annotation says so": Rules{}.For(replacing).Combine(History{}),
	} {
		t.Run(sentence, func(t *testing.T) { testInject(t, combine, tests) })
	}
}

// historyOf returns the history of a source that held one of pems after the other.
func historyOf(pems ...[]byte) (h History) {
	for n, one := range pems {
		h = h.Observe(now, Reading{Version: int64(n + 1), Bundle: ParseExisting(one)})
	}
	return h
}

// TestInjectReplacesWhatWasThere is about a target whose annotation says so, and a source that held another one before.
func TestInjectReplacesWhatWasThere(t *testing.T) {
	former, a, b := ca("former"), ca("a"), ca("b")
	rules := Rules{Distrusted: []string{Fingerprint(ParseExisting(b).certificates[0])}}.For(map[string]string{ModeAnnotation: "replace"})
	testInject(t, rules.Combine(historyOf(former, a)), map[string]injectTest{
		"the former one does not come back":    {held: nil, old: none, source: a, want: a},
		"what is distrusted goes":              {held: b, old: none, source: concat(b, a), want: a},
		"but not the last one":                 {held: b, old: none, source: b, want: b},
		"without a source, what it held last":  {held: nil, old: none, source: nil, want: a},
		"without a source, a former one stays": {held: former, old: none, source: nil, want: former},
	})
}

// TestInjectWhatIsPublished is about a source that cannot be used, of which something is published.
func TestInjectWhatIsPublished(t *testing.T) {
	a, b, published := ca("a"), ca("b"), ca("published")
	combine := func(now time.Time, existing, source Bundle) Bundle {
		if source.Empty() && existing.Empty() {
			return ParseExisting(published)
		}
		return Merge(now, existing, source)
	}
	testInject(t, combine, map[string]injectTest{
		"an absent caBundle is filled":                     {held: nil, old: none, want: published},
		"a placeholder":                                    {held: []byte("\n"), old: none, want: published},
		"a placeholder over a placeholder":                 {held: []byte("\n"), old: []byte("\n"), want: published},
		"a placeholder over a good one: that stays":        {held: []byte("\n"), old: a, want: a},
		"what is there stays":                              {held: b, old: a, want: b},
		"an expired source: what is published besides":     {held: nil, old: none, source: expiredCA("expired"), want: published, reason: SourceExpired},
		"a source that can be used: what combine makes of": {held: nil, old: none, source: a, want: a},
	})
}

// testInject runs tests on each kind of target.
func testInject(t *testing.T, combine Combine, tests map[string]injectTest) {
	for sentence, test := range tests {
		for kind, with := range targets {
			t.Run(fmt.Sprintf("%s: %s", kind, sentence), func(t *testing.T) {
				object := parse(t, kind, with(test.held))
				var old *Object
				if !bytes.Equal(test.old, none) {
					parsed := parse(t, kind, with(test.old))
					old = &parsed
				}
				patch, _, problem := Inject(now, object, old, ParseExisting(test.source), combine)
				if got := reasonOf(problem); got != test.reason {
					t.Errorf("reason is %q, not %q", got, test.reason)
				}
				got := apply(t, with(test.held), patch)
				if diff := cmp.Diff(toJSON(t, with(test.want)), got); diff != "" {
					t.Error(diff)
				}
				if bytes.Equal(test.held, test.want) && len(patch) > 0 {
					t.Errorf("what is right is written: %v", patch)
				}
				again, _, _ := Inject(now, parse(t, kind, with(test.want)), nil, ParseExisting(test.source), combine)
				if len(again) > 0 {
					t.Errorf("injecting again changes it again: %v", again)
				}
			})
		}
	}
}

// none stands for "there was no object before".
var none = []byte("none")

// targets make an object of each kind that holds one caBundle, in each of its places.
var targets = map[Kind]func(caBundle []byte) any{
	CustomResourceDefinition: func(caBundle []byte) any { return crdWith(caBundle) },
	APIService: func(caBundle []byte) any {
		return apiService(apiregistrationv1.APIServiceSpec{Service: &apiregistrationv1.ServiceReference{Name: "s"}, CABundle: caBundle})
	},
	ValidatingWebhookConfiguration: func(caBundle []byte) any { return validating(caBundle, caBundle) },
	MutatingWebhookConfiguration: func(caBundle []byte) any {
		c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: meta("mutating")}
		for _, name := range []string{"a", "b", "c"} {
			c.Webhooks = append(c.Webhooks, admissionregistrationv1.MutatingWebhook{
				Name: name, ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: caBundle},
			})
		}
		return c
	},
}

func TestWebhooksAreMatchedByNameAcrossAnUpdate(t *testing.T) {
	a, b := ca("a"), ca("b")
	before, after := validating(a, b), validating(nil, nil)
	after.Webhooks[0], after.Webhooks[1] = after.Webhooks[1], after.Webhooks[0]
	old := parse(t, ValidatingWebhookConfiguration, before)
	patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, after), &old, Bundle{}, Merge)
	if problem != nil {
		t.Fatal(problem)
	}
	want := validating(b, a)
	want.Webhooks[0].Name, want.Webhooks[1].Name = "b.example.com", "a.example.com"
	if diff := cmp.Diff(toJSON(t, want), apply(t, after, patch)); diff != "" {
		t.Error(diff)
	}
}

func TestWebhooksOfOneConfigurationAreMergedEachByItself(t *testing.T) {
	a, b, c := ca("a"), ca("b"), ca("c")
	patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, validating(a, nil, c)), nil, ParseExisting(b), Merge)
	if problem != nil {
		t.Fatal(problem)
	}
	want := validating(concat(a, b), b, concat(c, b))
	if diff := cmp.Diff(toJSON(t, want), apply(t, validating(a, nil, c), patch)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWouldBeTooLargeIsNotFilled(t *testing.T) {
	var big []byte
	for i := 0; len(big) < 50_000; i++ {
		big = append(big, ca(fmt.Sprint(i))...)
	}
	source, _, problem := ParseSource(big)
	if problem != nil {
		t.Fatal(problem)
	}
	good := ca("good")

	t.Run("a bundle times the webhooks over 1 MB", func(t *testing.T) {
		patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, validating(make([][]byte, 22)...)), nil, source, Merge)
		if reasonOf(problem) != TargetTooLarge || len(patch) > 0 {
			t.Errorf("problem is %v, patch has %d operations", problem, len(patch))
		}
	})
	t.Run("the same bundle in fewer webhooks", func(t *testing.T) {
		patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, validating(make([][]byte, 19)...)), nil, source, Merge)
		if problem != nil || len(patch) != 19 {
			t.Errorf("problem is %v, patch has %d operations", problem, len(patch))
		}
	})
	t.Run("what was there is restored all the same", func(t *testing.T) {
		old := make([][]byte, 22)
		for i := range old {
			old[i] = good
		}
		before := parse(t, ValidatingWebhookConfiguration, validating(old...))
		patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, validating(make([][]byte, 22)...)), &before, source, Merge)
		if reasonOf(problem) != TargetTooLarge {
			t.Errorf("problem is %v", problem)
		}
		if diff := cmp.Diff(toJSON(t, validating(old...)), apply(t, validating(make([][]byte, 22)...), patch)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what the source does not hold goes first, the oldest of it", func(t *testing.T) {
		foreign := ca("oldest")
		for n := range 10 {
			foreign = append(foreign, ca(fmt.Sprint("older", n))...)
		}
		held := make([][]byte, 19)
		for i := range held {
			held[i] = concat(foreign, big[:len(big)/2])
		}
		held[0] = nil
		before := validating(held...)
		patch, dropped, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, before), nil, source, Merge)
		if problem != nil || dropped == 0 {
			t.Fatalf("%d dropped, problem is %v", dropped, problem)
		}
		raw, err := json.Marshal(apply(t, before, patch))
		if err != nil {
			t.Fatal(err)
		}
		var after admissionregistrationv1.ValidatingWebhookConfiguration
		if err := json.Unmarshal(raw, &after); err != nil {
			t.Fatal(err)
		}
		total := 0
		for i, webhook := range after.Webhooks {
			got := ParseExisting(webhook.ClientConfig.CABundle)
			total += len(webhook.ClientConfig.CABundle)
			if _, missing := got.cutTo(0, source); len(got.certificates)-missing != len(source.certificates) {
				t.Errorf("webhook %d lacks some of the source", i)
			}
			if got.Holds(ParseExisting(ca("oldest")).certificates[0]) {
				t.Errorf("webhook %d has kept the oldest", i)
			}
		}
		if total > maxTotalBytes || total < maxTotalBytes*9/10 {
			t.Errorf("%d bytes in all", total)
		}
		if again, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, &after), nil, source, Merge); len(again) > 0 || problem != nil {
			t.Errorf("injecting again changes %d, problem is %v", len(again), problem)
		}
	})
	large := crdWith(nil)
	large.Annotations["filler"] = strings.Repeat("x", 1_460_000)
	t.Run("a CRD that would pass etcd's limit", func(t *testing.T) {
		patch, _, problem := Inject(now, parse(t, CustomResourceDefinition, large), nil, source, Merge)
		if reasonOf(problem) != TargetTooLarge || len(patch) > 0 {
			t.Errorf("problem is %v, patch has %d operations", problem, len(patch))
		}
	})
	t.Run("the same CRD and a small bundle", func(t *testing.T) {
		patch, _, problem := Inject(now, parse(t, CustomResourceDefinition, large), nil, ParseExisting(good), Merge)
		if problem != nil || len(patch) != 1 {
			t.Errorf("problem is %v, patch has %d operations", problem, len(patch))
		}
	})
	t.Run("what is right already is no problem, however large", func(t *testing.T) {
		full := make([][]byte, 22)
		for i := range full {
			full[i] = big
		}
		patch, _, problem := Inject(now, parse(t, ValidatingWebhookConfiguration, validating(full...)), nil, source, Merge)
		if problem != nil || len(patch) > 0 {
			t.Errorf("problem is %v, patch has %d operations", problem, len(patch))
		}
	})
}

func TestNextExpiry(t *testing.T) {
	soon, later := cabundletest.CA("soon", now, now.Add(time.Minute)), cabundletest.CA("later", now, now.Add(time.Hour))
	expired := expiredCA("expired")
	tests := map[string]struct {
		held, source []byte
		want         time.Time
	}{
		"of the source":             {nil, soon, now.Add(time.Minute)},
		"of what the object holds":  {soon, later, now.Add(time.Minute)},
		"what has expired is past":  {expired, later, now.Add(time.Hour)},
		"nothing that could expire": {[]byte("\n"), nil, time.Time{}},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			got := NextExpiry(now, parse(t, CustomResourceDefinition, crdWith(test.held)), ParseExisting(test.source))
			if !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func BenchmarkInject(b *testing.B) {
	source := ParseExisting(ca("a"))
	object := bigCRD()
	raw, err := json.Marshal(object)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		patch, _, _ := Inject(now, ParseObject(CustomResourceDefinition, raw), nil, source, Merge)
		if len(patch) != 1 {
			b.Fatal(patch)
		}
	}
}

// bigCRD has about 100 KB of schema.
func bigCRD() *apiextensionsv1.CustomResourceDefinition {
	properties := map[string]apiextensionsv1.JSONSchemaProps{}
	for i := range 500 {
		properties[fmt.Sprintf("field%d", i)] = apiextensionsv1.JSONSchemaProps{
			Type: "string", Description: strings.Repeat("what this field is for, ", 7),
		}
	}
	object := crdWith(nil)
	object.Spec.Versions[0].Schema = &apiextensionsv1.CustomResourceValidation{
		OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties},
	}
	return object
}

func reasonOf(problem *Problem) Reason {
	if problem == nil {
		return ""
	}
	return problem.Reason
}

// apply applies patch to object with the library that the API server uses, and returns the JSON as a value.
func apply(t testing.TB, object, patch any) any {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	operations, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	if string(operations) != "null" {
		decoded, err := jsonpatch.DecodePatch(operations)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = decoded.Apply(raw); err != nil {
			t.Fatal(err)
		}
	}
	return toJSON(t, json.RawMessage(raw))
}

func toJSON(t testing.TB, object any) any {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
