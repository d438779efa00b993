package audit

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/caject/caject/cabundle/survey"
)

// rights returns which of the roles that caject has allow more than it needs of Secrets: it gets those that are named, and writes its
// own, in its own namespace, by name.
func rights(grants []survey.Grant) []Issue {
	var issues []Issue
	for _, grant := range grants {
		for _, rule := range grant.Rules {
			if verbs := excess(grant, rule); len(verbs) > 0 {
				where := "everywhere"
				if grant.Namespace != "" {
					where = "in namespace " + grant.Namespace
				}
				issues = append(issues, issue(RightsTooWide, grant.Role,
					fmt.Sprintf("it lets caject %s secrets %s, which caject never does", strings.Join(verbs, ", "), where),
					"take that away: whoever steals caject's token has it. The chart's roles allow get alone, and writing its own Secret by name"))
			}
		}
	}
	return issues
}

// excess returns the verbs for Secrets that rule allows and caject does not need.
func excess(grant survey.Grant, rule rbacv1.PolicyRule) []string {
	if !slices.ContainsFunc(rule.APIGroups, either("")) || !slices.ContainsFunc(rule.Resources, either("secrets")) {
		return nil
	}
	ownByName := grant.Own && len(rule.ResourceNames) > 0
	var verbs []string
	for _, verb := range rule.Verbs {
		switch verb {
		case "get":
		case "*":
			verbs = append(verbs, "do anything (*) with")
		case "create", "update", "patch":
			if !ownByName {
				verbs = append(verbs, verb)
			}
		default:
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

// either returns a function that reports whether a word of a rule is want or all.
func either(want string) func(string) bool {
	return func(word string) bool { return word == want || word == rbacv1.ResourceAll }
}
