package chart

import (
	"strings"
	"testing"
)

// TestValuesThatAreWrongAreRefused: what helm says of each names the value, and where it can, the way out.
func TestValuesThatAreWrongAreRefused(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for values, want := range map[string]string{
		"replicas=2":                 "replicas",
		"service.type=Nonsense":      "/service/type",
		"service.port=0":             "/service/port",
		"service.type=ExternalName":  "service.externalName is required",
		"webhook.url=http://x":       "/webhook/url",
		"webhook.timeoutSeconds=31":  "/webhook/timeoutSeconds",
		"resyncInterval=soon":        "/resyncInterval",
		"resyncInterval=0s":          "/resyncInterval",
		"webhook.url=https://:8443":  "/webhook/url",
		"webhook.url=https://u@h":    "/webhook/url",
		"logging.format=xml":         "/logging/format",
		"targets.secrets=true":       "'secrets'",
		"distrust={0a}":              "/distrust/0",
		"distrust={0a:0b}":           "/distrust/0",
		"global.imageregistry=x":     "global.imageregistry is not known: the chart knows global.imageRegistry and global.imagePullSecrets",
		"global.imageRegistry=http:": "/global/imageRegistry",

		"networkPolicy.enabled=true,hostNetwork=true": "networkPolicy.enabled means nothing with hostNetwork",
		"networkPolicy.apiServerCIDRs={10.0.0.1}":     "/networkPolicy/apiServerCIDRs/0",
		"networkPolicy.apiServerPorts={}":             "/networkPolicy/apiServerPorts",

		"image.digest=latest":                     `image.digest: "latest" is no digest; write sha256:`,
		"image.digest=" + strings.ToUpper(digest): "is no digest",
		"image.digest=" + digest + "0":            "is no digest",
		"image.repository=a@" + digest:            "/image/repository",
		"image.tag=a:b":                           "/image/tag",
		"image.registry=https://x":                "/image/registry",
		"imagePullSecrets[0].x=y":                 "/imagePullSecrets/0",

		"sources.namespaces={A}":                               `sources.namespaces: no namespace can be called "A"`,
		"sources.namespaces={" + strings.Repeat("a", 64) + "}": "sources.namespaces: no namespace can be called",
		"sources.ignoredNamespaces={a_b}":                      `sources.ignoredNamespaces: no namespace can be called "a_b"`,
		"sources.namespaces={kube-*}":                          "sources.namespaces: no namespace can be called",
		"sources.names={a}":                                    `sources.names: "a" is not namespace/name`,
		"sources.names={a/b/c}":                                "is not namespace/name",
		"sources.names={a/*}":                                  "is not namespace/name",
		"sources.certificateNames={A/b}":                       `sources.certificateNames: "A/b" is not namespace/name`,
		"sources.names={a/b,a/b}":                              "/sources/names",
		"sources.access=all":                                   "/sources/access",
		"namespaceOverride=A":                                  "/namespaceOverride",

		"sources.namespaces={a};sources.ignoredNamespaces={b}":      "sources.namespaces and sources.ignoredNamespaces contradict each other",
		"sources.access=namespaces":                                 "sources.access=namespaces needs sources.namespaces",
		"sources.access=cluster;sources.namespaces={a}":             "sources.namespaces is for sources.access=namespaces",
		"sources.names={a/b};sources.namespaces={a}":                "sources.namespaces is for sources.access=namespaces, and access is names",
		"sources.access=cluster;sources.names={a/b}":                "are for sources.access=names, and access is cluster",
		"sources.names={a/b};sources.ignoredNamespaces={c}":         "sources.ignoredNamespaces means nothing with sources.access=names",
		"sources.certificateNames={a/b};sources.certificates=false": "sources.certificateNames needs sources.certificates",
		"hints.namespaceSelector.matchlabels.a=b":                   "/hints/namespaceSelector",
		"service.externalName=x":                                    "service.externalName means nothing with service.type ClusterIP",
		"serviceAccount.create=false":                               "serviceAccount.create=false needs serviceAccount.name",
		"policy.enabled=true;cabundles.enabled=false":               "policy.enabled=true needs cabundles.enabled",
		"webhook.port=9402":                                         "webhook.port and metrics.port are both 9402",
		"terminationGracePeriodSeconds=14":                          "terminationGracePeriodSeconds: 14 is too short",
		"extraVolumes[0].name=client-ca":                            "extraVolumes: the name client-ca is taken",
		"extraVolumeMounts[0].name=a":                               "extraVolumeMounts: there is no volume a among extraVolumes",
		"extraEnv[0].name=A;extraEnv[0].valeu=b":                    "/extraEnv/0",
		"strategy.type=Recreate;strategy.rollingUpdate.maxSurge=1":  "strategy.rollingUpdate means nothing with strategy.type=Recreate",
		"strategy.maxSurge=1":                                       "/strategy",
		"podDisruptionBudget.unhealthyPodEvictionPolicy=Never":      "unhealthyPodEvictionPolicy",
		"dnsPolicy=None":                                            "/dnsPolicy",
		"topologySpreadConstraints[0].topologyKey=a":                "/topologySpreadConstraints/0",
		`commonLabels.app\.kubernetes\.io/name=other`:               "commonLabels: the chart sets the label app.kubernetes.io/name itself",
		"podLabels.a=b c":                                           "/podLabels/a",
		`commonAnnotations.cert-manager\.io/inject-ca-from=a/b`:     "commonAnnotations: the annotation cert-manager.io/inject-ca-from has a meaning for caject",
		`webhook.annotations.caject\.io/inject-ca-from=apiserver`:   "webhook.annotations: the annotation caject.io/inject-ca-from has a meaning",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			if _, err := template(t, "--set", strings.ReplaceAll(values, ";", ",")); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("helm says %v", err)
			}
		})
	}
}

// TestAParentChartMayHaveGlobalsOfItsOwn has caject as a dependency: the globals of its parent are for other charts as well.
func TestAParentChartMayHaveGlobalsOfItsOwn(t *testing.T) {
	t.Parallel()
	parent := parentChart(t, "global: {domain: example.com, imageRegistry: mirror.example.com}\n")
	text, err := templateOf(t, parent)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, `image: "mirror.example.com/caject/caject:`) {
		t.Errorf("the image does not come from the registry that the parent names:\n%s", text)
	}
}
