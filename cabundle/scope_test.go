package cabundle

import "testing"

func TestScope(t *testing.T) {
	secret := func(namespace string) Reference { return Reference{Secret, namespace, "name"} }
	certificate := Reference{Certificate, "a", "name"}
	tests := map[string]struct {
		scope   Scope
		ref     Reference
		allowed bool
	}{
		"everything, by default":                       {Scope{}, secret("a"), true},
		"a namespace that is named":                    {Scope{Namespaces: []string{"a", "b"}}, secret("b"), true},
		"a namespace that is not named":                {Scope{Namespaces: []string{"a", "b"}}, secret("c"), false},
		"a Certificate in one that is not named":       {Scope{Namespaces: []string{"b"}}, certificate, false},
		"a namespace that is ignored":                  {Scope{IgnoredNamespaces: []string{"a"}}, secret("a"), false},
		"a namespace that is not ignored":              {Scope{IgnoredNamespaces: []string{"a"}}, secret("b"), true},
		"no Certificates: a Certificate":               {Scope{NoCertificates: true}, certificate, false},
		"no Certificates: a Secret":                    {Scope{NoCertificates: true}, secret("a"), true},
		"a source that is named":                       {Scope{Sources: []Reference{secret("a"), certificate}}, certificate, true},
		"one that is named, of the other kind":         {Scope{Sources: []Reference{secret("a")}}, certificate, false},
		"one that is named, in another namespace":      {Scope{Sources: []Reference{secret("a")}}, secret("b"), false},
		"caject's own, where others are named":         {Scope{Sources: []Reference{secret("b")}, Own: secret("a")}, secret("a"), true},
		"the API server's CA, where others are named":  {Scope{Sources: []Reference{secret("b")}}, Reference{Kind: APIServer}, true},
		"nothing but the API server's CA: a Secret":    {Scope{Sources: []Reference{{Kind: APIServer}}}, secret("a"), false},
		"caject's own, out of scope":                   {Scope{Namespaces: []string{"b"}, Own: secret("a")}, secret("a"), true},
		"the API server's CA is in every scope":        {Scope{Namespaces: []string{"a"}, NoCertificates: true}, Reference{Kind: APIServer}, true},
		"the API server's CA, with an ignored nothing": {Scope{IgnoredNamespaces: []string{""}}, Reference{Kind: APIServer}, true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			problem := test.scope.Check(test.ref)
			if (problem == nil) != test.allowed {
				t.Errorf("problem is %v", problem)
			}
			if problem != nil && (problem.Reason != SourceOutOfScope || !problem.Final()) {
				t.Errorf("problem is %+v", problem)
			}
		})
	}
}
