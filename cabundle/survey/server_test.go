package survey

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestServersOf(t *testing.T) {
	raw := `{"webhooks": [
		{"clientConfig": {"service": {"namespace": "a", "name": "b"}}},
		{"clientConfig": {"service": {"namespace": "a", "name": "b", "port": 443}}},
		{"clientConfig": {"service": {"namespace": "a", "name": "b", "port": 8443}}},
		{"clientConfig": {"url": "https://[::1]:1/x"}}, {"clientConfig": {"url": "https://a.example.com"}}, {"clientConfig": {"url": "nonsense"}}]}`
	var content map[string]any
	if err := json.Unmarshal([]byte(raw), &content); err != nil {
		t.Fatal(err)
	}
	whole(content)
	var got []string
	for _, server := range serversOf(content, target(nil, nil, nil, nil, nil, nil, nil).Fields) {
		address, _, err := server.Address()
		if server.URL == "" {
			address, err = "", nil
		}
		wrong := ""
		if err != nil {
			wrong = err.Error()
		}
		got = append(got, strings.Join([]string{strings.Join(server.Webhooks, ","), server.String(), server.ServerName(), address, wrong}, "|"))
	}
	want := []string{
		"a,b|Service a/b, port 443|b.a.svc||",
		"c|Service a/b, port 8443|b.a.svc||",
		"d|https://[::1]:1/x|::1|[::1]:1|",
		"e|https://a.example.com|a.example.com|a.example.com:443|",
		`f|nonsense|||"nonsense" is not https://HOST`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := at(content, "/webhooks/99/clientConfig"); got != nil {
		t.Errorf("there is no such webhook: %v", got)
	}
}

// whole turns the numbers of decoded JSON into integers, as the API machinery's decoder does.
func whole(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, item := range value {
			if number, ok := item.(float64); ok {
				value[key] = int64(number)
			}
			whole(item)
		}
	case []any:
		for _, item := range value {
			whole(item)
		}
	}
}

func TestReadyOf(t *testing.T) {
	endpoint := func(address, pod string, ready bool) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
		if pod != "" {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: pod}
		}
		return e
	}
	slice := func(portName string, endpoints ...discoveryv1.Endpoint) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: new(int32(9443))}}, Endpoints: endpoints}
	}
	for name, test := range map[string]struct {
		slices []discoveryv1.EndpointSlice
		want   Endpoint
		ok     bool
	}{
		"none":                      {nil, Endpoint{}, false},
		"none is ready":             {[]discoveryv1.EndpointSlice{slice("https", endpoint("10.0.0.1", "a", false))}, Endpoint{}, false},
		"another port":              {[]discoveryv1.EndpointSlice{slice("metrics", endpoint("10.0.0.1", "a", true))}, Endpoint{}, false},
		"the first that is ready":   {[]discoveryv1.EndpointSlice{slice("https", endpoint("10.0.0.1", "a", false), endpoint("10.0.0.2", "b", true))}, Endpoint{Pod: "b", Host: "10.0.0.2", Port: 9443}, true},
		"one with a Pod is better":  {[]discoveryv1.EndpointSlice{slice("https", endpoint("10.0.0.1", "", true)), slice("https", endpoint("10.0.0.2", "b", true))}, Endpoint{Pod: "b", Host: "10.0.0.2", Port: 9443}, true},
		"one without a Pod will do": {[]discoveryv1.EndpointSlice{slice("https", endpoint("10.0.0.1", "", true))}, Endpoint{Host: "10.0.0.1", Port: 9443, Why: "the endpoint has no Pod"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := readyOf(test.slices, "https")
			if diff := cmp.Diff(test.want, got); diff != "" || ok != test.ok {
				t.Errorf("%t, %s", ok, diff)
			}
		})
	}
}
