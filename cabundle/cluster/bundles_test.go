package cluster

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle/v1alpha1"
)

// newBundles returns Bundles of a server that answers each request with code and body, and what it is asked.
func newBundles(t *testing.T, code int, body string) (*Bundles, *[]request) {
	t.Helper()
	url, requests := serve(t, code, body)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("CABundle"), meta.RESTScopeRoot)
	c, err := client.New(&rest.Config{Host: url}, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return NewBundles(c), requests
}

func TestEachCallIsOneRequestUnderOurName(t *testing.T) {
	const path = "/apis/caject.io/v1alpha1/cabundles"
	const stored = `{"kind":"CABundle","apiVersion":"caject.io/v1alpha1","metadata":{"name":"a","uid":"u","resourceVersion":"6"},"spec":{"source":"apiserver"}}`
	named := func() *v1alpha1.CABundle { return &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: "a"}} }
	identified := &v1alpha1.CABundle{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "u"}}
	tests := map[string]struct {
		do          func(*Bundles, *v1alpha1.CABundle) error
		object      *v1alpha1.CABundle
		method, url string
		body        string // a part of it
	}{
		"Create":              {func(b *Bundles, o *v1alpha1.CABundle) error { return b.Create(t.Context(), o) }, named(), "POST", path + "?fieldManager=caject", `"name":"a"`},
		"UpdateStatus":        {func(b *Bundles, o *v1alpha1.CABundle) error { return b.UpdateStatus(t.Context(), o) }, named(), "PUT", path + "/a/status?fieldManager=caject", `"name":"a"`},
		"Delete":              {func(b *Bundles, o *v1alpha1.CABundle) error { return b.Delete(t.Context(), o) }, named(), "DELETE", path + "/a", ""},
		"Delete with its UID": {func(b *Bundles, o *v1alpha1.CABundle) error { return b.Delete(t.Context(), o) }, identified, "DELETE", path + "/a", `"preconditions":{"uid":"u"}`},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			bundles, requests := newBundles(t, http.StatusOK, stored)
			if err := test.do(bundles, test.object); err != nil {
				t.Fatal(err)
			}
			got := (*requests)[0]
			if len(*requests) != 1 || got.method != test.method || got.url != test.url || !strings.Contains(got.body, test.body) {
				t.Errorf("asked %+v", *requests)
			}
			if test.method != "DELETE" && test.object.ResourceVersion != "6" {
				t.Errorf("left %+v", test.object)
			}
		})
	}
}

func TestGetReturnsWhatIsStoredOrSaysThatNothingIs(t *testing.T) {
	bundles, _ := newBundles(t, http.StatusOK, `{"kind":"CABundle","apiVersion":"caject.io/v1alpha1","metadata":{"name":"a"},"spec":{"source":"apiserver"}}`)
	if got, err := bundles.Get(t.Context(), "a"); err != nil || got.Spec.Source != "apiserver" {
		t.Errorf("returned %+v, %v", got, err)
	}
	bundles, _ = newBundles(t, http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	if _, err := bundles.Get(t.Context(), "a"); !apierrors.IsNotFound(err) {
		t.Errorf("error is %v", err)
	}
}
