package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestThePoliciesFitTheCluster is about what the chart installs, by the cluster's version and by what it serves.
func TestThePoliciesFitTheCluster(t *testing.T) {
	t.Parallel()
	const v1, v1beta1 = "admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1"
	const mutating, validating = "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"
	own := []string{
		v1 + " " + validating + " own-apiservices", v1 + " " + validating + " own-customresourcedefinitions", v1 + " " + validating + " own-webhook-configurations",
	}
	older := func(version string) []string {
		return []string{
			version + " " + mutating + " fill-webhook-configurations", version + " " + mutating + " keep-apiservices", version + " " + mutating + " keep-webhook-configurations",
			v1 + " " + validating + " taken-apiservices",
		}
	}
	newest := append(older(v1),
		v1+" "+mutating+" fill-apiservices", v1+" "+mutating+" fill-customresourcedefinitions", v1+" "+mutating+" keep-customresourcedefinitions",
		v1+" "+validating+" taken-customresourcedefinitions",
	)
	required := []string{
		v1 + " " + validating + " require-apiservices", v1 + " " + validating + " require-customresourcedefinitions", v1 + " " + validating + " require-webhook-configurations",
	}
	served := func(version string) []string { return []string{"--api-versions", version + "/" + mutating} }
	kubernetes := func(version string) []string { return []string{"--kube-version", version} }
	for sentence, test := range map[string]struct {
		args []string
		want []string
	}{
		"the newest":               {served(v1), slices.Concat(own, newest)},
		"1.36":                     {append(served(v1), kubernetes("1.36.3")...), slices.Concat(own, older(v1))},
		"1.34, with the beta":      {append(served(v1beta1), kubernetes("1.34.4")...), slices.Concat(own, older(v1beta1))},
		"1.30":                     {kubernetes("1.30.0"), own},
		"one that was not asked":   {nil, own},
		"not asked, and told so":   {[]string{"--set", "policy.enabled=true"}, slices.Concat(own, newest)},
		"switched off":             {append(served(v1), "--set", "policy.enabled=false"), own},
		"caject is not restricted": {[]string{"--set", "policy.restrict=false"}, nil},
		"a bundle is required":     {[]string{"--set", "policy.requireBundle=Audit"}, slices.Concat(own, required)},
		"some kinds are left out": {
			append(served(v1), "--set", "targets.customresourcedefinitions=false", "--set", "targets.apiservices=false"),
			append(slices.Clone(own), v1+" "+mutating+" fill-webhook-configurations", v1+" "+mutating+" keep-webhook-configurations"),
		},
	} {
		text, err := helmTemplate(t, test.args...)
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
			continue
		}
		var got []string
		for _, found := range regexp.MustCompile(`apiVersion: (\S+)\nkind: (\S+Policy)\nmetadata:\n  name: release-caject-((?:fill|keep|own|taken|require)-\S+)`).FindAllStringSubmatch(text, -1) {
			got = append(got, found[1]+" "+found[2]+" "+found[3])
		}
		slices.Sort(got)
		slices.Sort(test.want)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", sentence, diff)
		}
		kept := slices.ContainsFunc(test.want, func(policy string) bool { return strings.Contains(policy, mutating) })
		if suggests := strings.Contains(text, "--suggest-admission-policy"); suggests == (kept || sentence == "switched off") {
			t.Errorf("%s: caject is to say when there are policies: %t", sentence, suggests)
		}
		audits := regexp.MustCompile(`validationActions: \[Audit\]`).FindAllString(text, -1)
		if sentence == "a bundle is required" && len(audits) != len(required) {
			t.Errorf("%d policies audit", len(audits))
		}
	}
}
