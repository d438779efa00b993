package chart

import (
	"strings"
	"testing"
)

// TestWhatTheValuesSay: each row has values, the template that they change, and what it must hold; with a leading !, must not hold.
func TestWhatTheValuesSay(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for sentence, test := range map[string]struct {
		values, template string
		want             []string
	}{
		"the tag is the chart's version": {"", "deployment", []string{`image: "ghcr.io/caject/caject:v0.1.0"`}},
		"a digest counts before a tag":   {"image: {tag: v2, digest: '" + digest + "'}", "deployment", []string{`image: "ghcr.io/caject/caject@` + digest + `"`}},
		"a registry for all charts":      {"global: {imageRegistry: 'mirror:5000/proxy'}", "deployment", []string{`image: "mirror:5000/proxy/caject/caject:v0.1.0"`}},
		"a registry of its own":          {"global: {imageRegistry: a.example}\nimage: {registry: b.example, repository: team/caject}", "deployment", []string{`image: "b.example/team/caject:v0.1.0"`}},
		"pull secrets, by name or object": {"global: {imagePullSecrets: [a]}\nimagePullSecrets: [b, {name: c}]", "deployment",
			[]string{"imagePullSecrets:\n        - name: a\n        - name: b\n        - name: c\n"}},
		"the network of the node": {"hostNetwork: true\nwebhook: {port: 10443}", "deployment",
			[]string{"hostNetwork: true", "dnsPolicy: ClusterFirstWithHostNet", "containerPort: 10443", "maxSurge: 0"}},
		"the network of the node, and more": {"hostNetwork: true\ndnsPolicy: Default\nstrategy: {type: Recreate}", "deployment",
			[]string{"dnsPolicy: Default", "type: Recreate", "!maxSurge"}},
		"OpenShift chooses the user": {"podSecurityContext: {runAsUser: null, runAsGroup: null}", "deployment", []string{"!runAsUser", "!runAsGroup", "runAsNonRoot: true"}},
		"zones, by default": {"", "deployment", []string{"topologyKey: topology.kubernetes.io/zone", "whenUnsatisfiable: ScheduleAnyway",
			"labelSelector:\n            matchLabels:\n              app.kubernetes.io/instance: release\n              app.kubernetes.io/name: caject"}},
		"no zones":                        {"topologySpreadConstraints: []", "deployment", []string{"!topologySpreadConstraints"}},
		"a limit of memory for Go":        {"extraEnv: [{name: GOMEMLIMIT, value: 90MiB}]", "deployment", []string{"value: 90MiB", "!resourceFieldRef"}},
		"a variable beside it":            {"extraEnv: [{name: HTTPS_PROXY, value: 'http://proxy'}]", "deployment", []string{"resourceFieldRef", "name: HTTPS_PROXY"}},
		"a token for caject alone":        {"automountServiceAccountToken: false", "deployment", []string{"automountServiceAccountToken: false", "serviceAccountToken:", "mountPath: /var/run/secrets/kubernetes.io/serviceaccount"}},
		"volumes":                         {"extraVolumes: [{name: v, emptyDir: {}}]\nextraVolumeMounts: [{name: v, mountPath: /v}]\nwebhook: {clientCAConfigMap: c}", "deployment", []string{"name: client-ca", "emptyDir: {}", "mountPath: /v"}},
		"how the Deployment is kept":      {"revisionHistoryLimit: 0\nterminationGracePeriodSeconds: 60\npriorityClassName: p", "deployment", []string{"revisionHistoryLimit: 0", "terminationGracePeriodSeconds: 60", `priorityClassName: "p"`}},
		"labels of all, and of the pods":  {"commonLabels: {team: a}\npodLabels: {team: b}\ndeploymentAnnotations: {c: d}", "deployment", []string{"    team: a\n", "        team: b\n", "annotations:\n    c: d"}},
		"labels of policies":              {"commonLabels: {team: a}\npolicy: {labels: {team: b}, annotations: {c: d}}", "guard", []string{"team: b", "c: d", "!team: a"}},
		"annotations of configurations":   {"commonAnnotations: {a: b}\nwebhook: {annotations: {c: d}}", "webhookconfiguration", []string{"a: b", "c: d", "cert-manager.io/inject-ca-from-secret: ns/release-caject-ca"}},
		"annotations of the Service":      {"service: {annotations: {c: d}, labels: {e: f}}", "service", []string{"c: d", "e: f"}},
		"labels of the CRD":               {"commonLabels: {team: a}\ncommonAnnotations: {c: d}", "cabundles", []string{"team: a", "c: d", "controller-gen.kubebuilder.io/version"}},
		"a node that is drained":          {"", "poddisruptionbudget", []string{"unhealthyPodEvictionPolicy: AlwaysAllow"}},
		"objects of one's own":            {"extraObjects: [{kind: ConfigMap, apiVersion: v1, metadata: {name: '{{ .Release.Name }}-x'}}]", "extraobjects", []string{"name: 'release-x'"}},
		"another namespace":               {"namespaceOverride: elsewhere", "rbac", []string{`namespace: "elsewhere"`, `!namespace: "ns"`}},
		"hints from some namespaces":      {"hints: {namespaceSelector: {matchLabels: {a: b}}}\nsources: {ignoredNamespaces: [c]}", "hints", []string{"matchLabels:\n        a: b", "operator: NotIn"}},
		"hints of named sources":          {"sources: {names: [a/b, c/d], certificateNames: [e/f]}", "hints", []string{"request.name in ['a/b', 'c/d']", "request.name in ['e/f']", "- a\n        - c\n        - e\n"}},
		"hints of a named Certificate":    {"sources: {certificateNames: [e/f]}", "hints", []string{"!secrets.hint", "certificates.hint"}},
		"the arguments of named sources":  {"sources: {names: [a/b], certificateNames: [e/f]}", "deployment", []string{"--sources=secret/a/b,certificate/e/f", "--hint-configuration"}},
		"no sources but the API server's": {"sources: {access: names}", "deployment", []string{"--sources=apiserver", "!--hint-configuration"}},
		"a role that is part of view":     {"", "rbac", []string{`rbac.authorization.k8s.io/aggregate-to-view: "true"`, `aggregate-to-edit: "true"`, `aggregate-to-admin: "true"`}},
		"anybody may call, scrape and be asked by a policy that knows no addresses": {"networkPolicy: {enabled: true}", "networkpolicy",
			[]string{"policyTypes: [Ingress, Egress]", "port: webhook", "port: health", "port: metrics", "port: 6443", "port: 53", "!from:", "!to:"}},
		"only the API server calls, only Prometheus scrapes": {"networkPolicy: {enabled: true, apiServerCIDRs: [10.0.0.1/32], apiServerPorts: [6443], metricsFrom: [{namespaceSelector: {}}], extraEgress: [{ports: [{port: 3128}]}]}", "networkpolicy",
			[]string{"- port: webhook\n      from:\n        - ipBlock:\n            cidr: \"10.0.0.1/32\"", "- port: metrics\n      from:\n        - namespaceSelector: {}",
				"- port: 6443\n      to:\n        - ipBlock:", "port: 3128", "!port: 443\n"}},
		"no Events in default": {"rbac: {eventsInDefault: false}", "deployment", []string{"--target-events=false"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			text, err := template(t, "--values", valuesFile(t, test.values), "--show-only", "templates/"+test.template+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if absent, ok := strings.CutPrefix(want, "!"); ok {
					if strings.Contains(text, absent) {
						t.Errorf("it holds %q", absent)
					}
				} else if !strings.Contains(text, want) {
					t.Errorf("it does not hold %q", want)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// TestWhatIsSwitchedOffIsNotThere lists what the values leave out of the whole chart.
func TestWhatIsSwitchedOffIsNotThere(t *testing.T) {
	t.Parallel()
	for values, absent := range map[string][]string{
		"rbac.create=false":                                 {"kind: Role", "kind: ClusterRole"},
		"rbac.aggregateToView=false":                        {"aggregate-to"},
		"rbac.eventsInDefault=false":                        {`namespace: default`},
		"serviceAccount.create=false,serviceAccount.name=x": {"kind: ServiceAccount\nmetadata"},
		"crds.enabled=false":                                {"kind: CustomResourceDefinition"},
		"podDisruptionBudget.create=false":                  {"kind: PodDisruptionBudget"},
		"sources.access=names":                              {"kind: ValidatingWebhookConfiguration"},
	} {
		for sentence, args := range map[string][]string{"by default": nil, "with " + values: {"--set", values}} {
			text, err := template(t, append(args, "--skip-tests")...)
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range absent {
				if strings.Contains(text, what) != (args == nil) {
					t.Errorf("%s: %q is there, or not, against what it says", sentence, what)
				}
			}
		}
	}
}
