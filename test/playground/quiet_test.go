package playground

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsQuiet(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	times := func(n int, r Request) (requests []Request) {
		for i := range n {
			r.At, r.Code = at.Add(time.Duration(i)*time.Second), 200
			requests = append(requests, r)
		}
		return requests
	}
	secret := Request{Verb: "get", Resource: "secrets", Namespace: "ns", Name: "a"}
	for sentence, test := range map[string]struct {
		requests []Request
		secure   bool
		stood    int    // replicas that stood still
		want     string // in the error; empty if there is none
	}{
		"nothing at all":                                   {},
		"each replica reads once an interval":              {requests: times(14, secret)},
		"a source is read too often":                       {requests: times(15, secret), want: "get secrets ns/a: 15 times"},
		"a source is read once more after a standstill":    {requests: times(15, secret), stood: 1},
		"a source is read twice more after one standstill": {requests: times(16, secret), stood: 1, want: "get secrets ns/a: 16 times"},
		"a Certificate is read too often": {requests: times(15, Request{Verb: "get", Group: "cert-manager.io", Resource: "certificates", Namespace: "ns", Name: "a"}),
			want: "get certificates ns/a: 15 times"},
		"targets may be read":           {requests: times(15, Request{Verb: "get", Group: "apiregistration.k8s.io", Resource: "apiservices", Name: "a"})},
		"caject's own CA is read twice": {requests: times(22, Request{Verb: "get", Resource: "secrets", Namespace: "caject", Name: "caject-ca"})},
		"but no more often": {requests: times(23, Request{Verb: "get", Resource: "secrets", Namespace: "caject", Name: "caject-ca"}),
			want: "get secrets caject/caject-ca: 23 times"},
		"Secrets are listed":              {requests: times(1, Request{Verb: "list", Resource: "secrets"}), want: "list secrets: once, at "},
		"Secrets are watched":             {requests: times(1, Request{Verb: "watch", Resource: "secrets", Namespace: "ns"}), want: "watch secrets ns/: once"},
		"a watch of targets is connected": {requests: times(3, Request{Verb: "watch", Group: "apiregistration.k8s.io", Resource: "apiservices"})},
		"a Lease is renewed":              {requests: times(30, Request{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: "caject", Name: "caject"})},
		"a Lease elsewhere": {requests: times(1, Request{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: "ns", Name: "caject"}),
			want: "update leases ns/caject: once"},
		"a status is written": {requests: times(2, Request{Verb: "update", Group: "caject.io", Resource: "cabundles", Subresource: "status", Name: "secret.ns.a"}),
			want: "update cabundles/status secret.ns.a: 2 times"},
		"an empty patch is a write": {requests: times(1, Request{Verb: "patch", Group: "apiregistration.k8s.io", Resource: "apiservices", Name: "a"}),
			want: "patch apiservices a: once"},
		"an Event is written": {requests: times(1, Request{Verb: "create", Resource: "events", Namespace: "default"}), want: "create events default/: once"},
		"who reads metrics is asked about, though they are open": {requests: times(1, Request{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"}),
			want: "create tokenreviews: once"},
		"who reads metrics is asked about": {secure: true, requests: append(
			times(1, Request{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"}),
			times(1, Request{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"})...)},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := Quiet{Replicas: 2, Interval: 5 * time.Second, SecureMetrics: test.secure, stood: test.stood}.Judge(test.requests, 30*time.Second)
			switch {
			case err == nil && test.want != "":
				t.Errorf("no error, not %q", test.want)
			case err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)):
				t.Errorf("the error is %q, not %q", err, test.want)
			}
		})
	}
}

func TestASilenceIsCounted(t *testing.T) {
	var requests []Request
	for range 4 {
		requests = append(requests, Request{Verb: "get", Resource: "secrets", Namespace: "ns", Name: "a"},
			Request{Verb: "patch", Resource: "apiservices", Name: "a"})
	}
	got, err := Quiet{Replicas: 2, Interval: 5 * time.Second}.Judge(requests, 10*time.Second)
	if err == nil {
		t.Error("four writes are no error")
	}
	if diff := cmp.Diff(Silence{Span: 10 * time.Second, Writes: 4, Reads: 4, Source: "secrets ns/a", Rate: 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheAuditLog(t *testing.T) {
	const log = `{"auditID":"1","stage":"ResponseComplete","verb":"update","user":{"username":"system:serviceaccount:caject:caject"},"userAgent":"caject/v1","objectRef":{"resource":"cabundles","namespace":"","name":"x","apiGroup":"caject.io","subresource":"status"},"responseStatus":{"code":409},"requestReceivedTimestamp":"2030-01-01T00:00:00.000001Z"}
{"auditID":"2","stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"apiservices"},"requestReceivedTimestamp":"2030-01-01T00:00:01Z"}
{"auditID":"3","stage":"Respon
{"auditID":"2","stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"apiservices"},"requestReceivedTimestamp":"2030-01-01T00:00:01Z"}
`
	got, err := parseAudit(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []Request{
		{At: begin.Add(time.Microsecond), Verb: "update", Group: "caject.io", Resource: "cabundles", Subresource: "status", Name: "x",
			User: "system:serviceaccount:caject:caject", UserAgent: "caject/v1", Code: 409},
		{At: begin.Add(time.Second), Verb: "watch", Resource: "apiservices"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
