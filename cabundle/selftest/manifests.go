package selftest

import "github.com/caject/caject/cabundle"

// manifests are objects that are never stored, by kind. Each has a place for a caBundle.
var manifests = map[cabundle.Kind]map[string]any{
	cabundle.MutatingWebhookConfiguration: {
		"metadata": map[string]any{"name": "selftest.caject.io"},
		"webhooks": []any{map[string]any{
			"name": "selftest.caject.io", "admissionReviewVersions": []any{"v1"}, "sideEffects": "None", "failurePolicy": "Ignore",
			"clientConfig": map[string]any{"url": "https://selftest.caject.invalid/"},
		}},
	},
	cabundle.CustomResourceDefinition: {
		"metadata": map[string]any{"name": "selftests.selftest.caject.io"},
		"spec": map[string]any{
			"group": "selftest.caject.io", "scope": "Cluster",
			"names": map[string]any{"kind": "Selftest", "listKind": "SelftestList", "plural": "selftests", "singular": "selftest"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}},
			}},
			"conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{
				"conversionReviewVersions": []any{"v1"}, "clientConfig": map[string]any{"url": "https://selftest.caject.invalid/"},
			}},
		},
	},
	cabundle.APIService: {
		"metadata": map[string]any{"name": "v1.selftest.caject.io"},
		"spec": map[string]any{
			"group": "selftest.caject.io", "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"service": map[string]any{"name": "selftest", "namespace": "default"},
		},
	},
}
