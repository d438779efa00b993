package playground

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Rights returns what the ClusterRoles and Roles in rendered, some YAML documents, allow, sorted, one resource a line:
// where, what, and the verbs, such as "everywhere: secrets: get" or "in ns: secrets name: get,update". What a ClusterRole allows to those who
// may view is "for viewers", and to those who scrape metrics "for scrapers".
func Rights(rendered string) ([]string, error) {
	var lines []string
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rendered), 4096)
	for {
		var role rbacv1.ClusterRole // a Role has the same fields, but for aggregation
		if err := documents.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		where := "everywhere"
		switch role.Kind {
		case "Role":
			where = "in " + role.Namespace
		case "ClusterRole":
			switch {
			case role.Labels["rbac.authorization.k8s.io/aggregate-to-view"] == "true":
				where = "for viewers"
			case strings.HasSuffix(role.Name, "-metrics-reader"):
				where = "for scrapers"
			}
		default:
			continue
		}
		if role.AggregationRule != nil {
			return nil, fmt.Errorf("%s takes in other roles", role.Name)
		}
		for _, rule := range role.Rules {
			lines = append(lines, ruleRights(where, rule)...)
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// ruleRights returns the lines of one rule.
func ruleRights(where string, rule rbacv1.PolicyRule) []string {
	verbs := strings.Join(slices.Sorted(slices.Values(rule.Verbs)), ",")
	var lines []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			what := strings.TrimPrefix(group+"/"+resource, "/")
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, name := range names {
				named := ""
				if name != "" {
					named = " " + name
				}
				lines = append(lines, where+": "+what+named+": "+verbs)
			}
		}
	}
	for _, url := range rule.NonResourceURLs {
		lines = append(lines, where+": "+url+": "+verbs)
	}
	return lines
}
