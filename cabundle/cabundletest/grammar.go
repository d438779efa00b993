package cabundletest

import "strings"

// OnTarget is a case of what annotations of a target mean.
type OnTarget struct {
	Annotations map[string]string
	// Source is what they name, as cabundle.Reference.String writes it; empty if they name none.
	Source string
	// Invalid is part of what is wrong with the annotation that counts; empty if nothing is.
	Invalid string
	// Padded is the annotation that counts, if white space is around its value.
	Padded string
	// Replaces: the target is to hold what the source holds and nothing else. OtherMode: the value that is to say so has no meaning.
	Replaces, OtherMode bool
	// Misspelt is the annotation that was meant to name a source, and Meant the one that does, if none counts.
	Misspelt, Meant string
}

const (
	fromSecret    = "cert-manager.io/inject-ca-from-secret"
	from          = "cert-manager.io/inject-ca-from"
	fromAPIServer = "cert-manager.io/inject-apiserver-ca"
	neutral       = "caject.io/inject-ca-from"
	allows        = "cert-manager.io/allow-direct-injection"
	allowsToo     = "caject.io/allow-direct-injection"
	issuedFor     = "cert-manager.io/certificate-name"
	mode          = "caject.io/inject-mode"
)

// Annotations are cases of what annotations of a target mean. Both caject's own reading of them and the expressions that the API
// server evaluates are tried on them, so they name sources in namespace ns that are called name, and no others that exist.
var Annotations = map[string]OnTarget{
	"no annotations":                            {},
	"of cert-manager 0.10":                      {Annotations: map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/name"}, Misspelt: "certmanager.k8s.io/inject-ca-from", Meant: from},
	"of cert-manager 0.10, for the API server":  {Annotations: map[string]string{"certmanager.k8s.io/inject-apiserver-ca": "true"}, Misspelt: "certmanager.k8s.io/inject-apiserver-ca", Meant: fromAPIServer},
	"half of cert-manager 0.10":                 {Annotations: map[string]string{"cert-manager.k8s.io/inject-ca-from-secret": "ns/name"}, Misspelt: "cert-manager.k8s.io/inject-ca-from-secret", Meant: fromSecret},
	"beside that of cert-manager 0.10":          {Annotations: map[string]string{"certmanager.k8s.io/inject-ca-from": "ns/other", from: "ns/name"}, Source: "certificate/ns/name"},
	"from Secrets":                              {Annotations: map[string]string{"cert-manager.io/inject-ca-from-secrets": "ns/name"}, Misspelt: "cert-manager.io/inject-ca-from-secrets", Meant: fromSecret},
	"a form":                                    {Annotations: map[string]string{"cert-manager.io/inject-ca-form": "ns/name"}, Misspelt: "cert-manager.io/inject-ca-form", Meant: from},
	"in capitals":                               {Annotations: map[string]string{"cert-manager.io/Inject-CA-From": "ns/name"}, Misspelt: "cert-manager.io/Inject-CA-From", Meant: from},
	"without a hyphen":                          {Annotations: map[string]string{"certmanager.io/inject-api-server-ca": "true"}, Misspelt: "certmanager.io/inject-api-server-ca", Meant: fromAPIServer},
	"a Secret, with caject's own prefix":        {Annotations: map[string]string{"caject.io/inject-ca-from-secret": "ns/name"}, Misspelt: "caject.io/inject-ca-from-secret", Meant: neutral},
	"False, and one that is misspelt":           {Annotations: map[string]string{fromAPIServer: "false", "caject.io/inject_ca_from": "apiserver"}, Misspelt: "caject.io/inject_ca_from", Meant: neutral},
	"another annotation of cert-manager's":      {Annotations: map[string]string{"cert-manager.io/inject-ca-from-secret-of": "ns/name", "cert-manager.io/issuer": "x"}},
	"another project's":                         {Annotations: map[string]string{"example.com/inject-ca-from": "ns/name", "inject-ca-from": "ns/name"}},
	"a value of 200 KB":                         {Annotations: map[string]string{fromSecret: strings.Repeat("ä", 100<<10)}, Invalid: "has no slash"},
	"others":                                    {Annotations: map[string]string{"a": "b"}},
	"a Secret":                                  {Annotations: map[string]string{fromSecret: "ns/name"}, Source: "secret/ns/name"},
	"a Certificate":                             {Annotations: map[string]string{from: "ns/name"}, Source: "certificate/ns/name"},
	"the API server":                            {Annotations: map[string]string{fromAPIServer: "true"}, Source: "apiserver"},
	"the API server, True":                      {Annotations: map[string]string{fromAPIServer: "True"}, Misspelt: fromAPIServer, Meant: fromAPIServer + `: "true"`},
	"the API server, yes, in a block":           {Annotations: map[string]string{fromAPIServer: "yes\n"}, Misspelt: fromAPIServer, Meant: fromAPIServer + `: "true"`},
	"the API server, False":                     {Annotations: map[string]string{fromAPIServer: "False"}},
	"the API server, empty":                     {Annotations: map[string]string{fromAPIServer: ""}},
	"the API server, white space":               {Annotations: map[string]string{fromAPIServer: " "}},
	"a Secret, in one word":                     {Annotations: map[string]string{neutral: "secret/ns/name"}, Source: "secret/ns/name"},
	"a Certificate, in one word":                {Annotations: map[string]string{neutral: "certificate/ns/name"}, Source: "certificate/ns/name"},
	"the API server, in one word":               {Annotations: map[string]string{neutral: "apiserver"}, Source: "apiserver"},
	"the Secret wins over the rest":             {Annotations: map[string]string{fromSecret: "ns/name", from: "ns/c", fromAPIServer: "true", neutral: "apiserver"}, Source: "secret/ns/name"},
	"the Certificate wins over the API server":  {Annotations: map[string]string{from: "ns/name", fromAPIServer: "true", neutral: "secret/ns/s"}, Source: "certificate/ns/name"},
	"the API server wins over the one word":     {Annotations: map[string]string{fromAPIServer: "true", neutral: "secret/ns/name"}, Source: "apiserver"},
	"False does not win over the one word":      {Annotations: map[string]string{fromAPIServer: "false", neutral: "secret/ns/name"}, Source: "secret/ns/name"},
	"no fall-back from a malformed Secret":      {Annotations: map[string]string{fromSecret: "", from: "ns/name"}, Invalid: "has no slash"},
	"no fall-back from a malformed Certificate": {Annotations: map[string]string{from: "x", fromAPIServer: "true"}, Invalid: "has no slash"},
	"no fall-back to the one word":              {Annotations: map[string]string{from: "", neutral: "secret/ns/name"}, Invalid: "has no slash"},
	"a source of another name":                  {Annotations: map[string]string{fromSecret: "ns/a.b.c"}, Source: "secret/ns/a.b.c"},
	"no slash":                                  {Annotations: map[string]string{fromSecret: "name"}, Invalid: "has no slash"},
	"no namespace":                              {Annotations: map[string]string{fromSecret: "/name"}, Invalid: "has no namespace"},
	"no name":                                   {Annotations: map[string]string{from: "ns/"}, Invalid: "has no name"},
	"nothing but a slash":                       {Annotations: map[string]string{from: "/"}, Invalid: "has no namespace"},
	"more than one slash":                       {Annotations: map[string]string{from: "ns/name/x"}, Invalid: "has more than one slash"},
	"an unresolved variable":                    {Annotations: map[string]string{from: "$(NS)/$(NAME)"}, Invalid: "namespace that cannot exist"},
	"a path":                                    {Annotations: map[string]string{from: "ns/.."}, Invalid: "name that cannot exist"},
	"an escape":                                 {Annotations: map[string]string{from: "ns/na%6de"}, Invalid: "name that cannot exist"},
	"a kind where none belongs":                 {Annotations: map[string]string{fromSecret: "secret/ns/name"}, Invalid: "has more than one slash"},
	"one word, empty":                           {Annotations: map[string]string{neutral: ""}, Invalid: "does not begin with a kind of source"},
	"one word, of no kind":                      {Annotations: map[string]string{neutral: "ns/name"}, Invalid: "does not begin with a kind of source"},
	"one word, of a kind that is unknown":       {Annotations: map[string]string{neutral: "configmap/ns/name"}, Invalid: "does not begin with a kind of source"},
	"one word, of a kind in capitals":           {Annotations: map[string]string{neutral: "Secret/ns/name"}, Invalid: "does not begin with a kind of source"},
	"one word, without a name":                  {Annotations: map[string]string{neutral: "secret/ns"}, Invalid: "has no second slash"},
	"one word, nothing but a kind":              {Annotations: map[string]string{neutral: "secret"}, Invalid: "has no second slash"},
	"one word, with too many slashes":           {Annotations: map[string]string{neutral: "secret/ns/name/x"}, Invalid: "has more than two slashes"},
	"one word, the API server by name":          {Annotations: map[string]string{neutral: "apiserver/"}, Invalid: "does not begin with a kind of source"},
	"one word, \"true\"":                        {Annotations: map[string]string{neutral: "true"}, Invalid: "does not begin with a kind of source"},
	"white space before":                        {Annotations: map[string]string{fromSecret: " \tns/name"}, Source: "secret/ns/name", Padded: fromSecret},
	"a block scalar's line end":                 {Annotations: map[string]string{from: "ns/name\n"}, Source: "certificate/ns/name", Padded: from},
	"a line end of Windows":                     {Annotations: map[string]string{neutral: "secret/ns/name\r\n"}, Source: "secret/ns/name", Padded: neutral},
	"white space around true":                   {Annotations: map[string]string{fromAPIServer: " true\n"}, Source: "apiserver", Padded: fromAPIServer},
	"a space of another script":                 {Annotations: map[string]string{fromSecret: "\u00a0ns/name\u3000"}, Source: "secret/ns/name", Padded: fromSecret},
	"white space around what is malformed":      {Annotations: map[string]string{from: " name "}, Invalid: "has no slash", Padded: from},
	"nothing but white space":                   {Annotations: map[string]string{fromSecret: "\n"}, Invalid: "has no slash", Padded: fromSecret},
	"white space within":                        {Annotations: map[string]string{fromSecret: "ns/ name"}, Invalid: "name that cannot exist"},
	"white space within one word":               {Annotations: map[string]string{neutral: "secret /ns/name"}, Invalid: "does not begin with a kind of source"},
	"replace":                                   {Annotations: map[string]string{fromSecret: "ns/name", mode: "replace"}, Source: "secret/ns/name", Replaces: true},
	"replace, in a block":                       {Annotations: map[string]string{fromSecret: "ns/name", mode: " replace\n"}, Source: "secret/ns/name", Replaces: true},
	"merge":                                     {Annotations: map[string]string{neutral: "apiserver", mode: "merge"}, Source: "apiserver"},
	"Replace":                                   {Annotations: map[string]string{fromSecret: "ns/name", mode: "Replace"}, Source: "secret/ns/name", OtherMode: true},
	"no mode":                                   {Annotations: map[string]string{from: "ns/name", mode: ""}, Source: "certificate/ns/name", OtherMode: true},
	"a mode and no source":                      {Annotations: map[string]string{mode: "replace"}},
	"white space around what does not count":    {Annotations: map[string]string{fromSecret: "ns/name", from: "ns/name ", neutral: "apiserver\n"}, Source: "secret/ns/name"},
}

// OnSecret is a case of what annotations of a Secret allow.
type OnSecret struct {
	Annotations map[string]string
	// Directly: a target may name the Secret itself.
	Directly bool
	// Certificate may be named by a target in its place; empty if none may.
	Certificate string
	// Padded is the first annotation that opts in with white space around its value.
	Padded string
}

// OptIns are cases of what annotations of a Secret allow, for caject's own reading of them and for the expressions that the API
// server evaluates.
var OptIns = map[string]OnSecret{
	"no annotations":                      {},
	"others":                              {Annotations: map[string]string{"a": "true"}},
	"direct injection":                    {Annotations: map[string]string{allows: "true"}, Directly: true},
	"direct injection, True":              {Annotations: map[string]string{allows: "True"}},
	"direct injection, in the other word": {Annotations: map[string]string{allowsToo: "true"}, Directly: true},
	"the other word, false":               {Annotations: map[string]string{allowsToo: "false"}},
	"both":                                {Annotations: map[string]string{allows: "true", allowsToo: "true"}, Directly: true},
	"cert-manager's allows it":            {Annotations: map[string]string{allows: "true", allowsToo: "false"}, Directly: true},
	"cert-manager's refuses it":           {Annotations: map[string]string{allows: "false", allowsToo: "true"}},
	"cert-manager's is empty":             {Annotations: map[string]string{allows: "", allowsToo: "true"}},
	"a Certificate":                       {Annotations: map[string]string{issuedFor: "name"}, Certificate: "name"},
	"both ways":                           {Annotations: map[string]string{issuedFor: "name", allowsToo: "true"}, Directly: true, Certificate: "name"},
	"white space around true":             {Annotations: map[string]string{allows: "true\n"}, Directly: true, Padded: allows},
	"around the other word's":             {Annotations: map[string]string{allowsToo: "\ttrue "}, Directly: true, Padded: allowsToo},
	"around false":                        {Annotations: map[string]string{allows: "false ", allowsToo: "true"}, Padded: allows},
	"around a Certificate's name":         {Annotations: map[string]string{issuedFor: " name\r\n"}, Certificate: "name", Padded: issuedFor},
}
