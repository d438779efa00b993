package cabundle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
)

func TestTakeAway(t *testing.T) {
	const (
		annotated   = `{"metadata":{"annotations":{"caject.io/inject-ca-from":"secret/ns/name"}},`
		misspelt    = `{"metadata":{"annotations":{"caject.io/inject-ca-from":"name"}},`
		unannotated = `{"metadata":{},`
		service     = `"spec":{"caBundle":"Q0E=","service":{"name":"a"}}}`
		converts    = `"spec":{"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"caBundle":"Q0E=","service":{"name":"a"}},"conversionReviewVersions":["v1"]}}}}`
		left        = `"spec":{"conversion":{"strategy":"None","webhook":{"clientConfig":{"caBundle":"Q0E="}}}}}`
	)
	ofAPIService := []jsonpatch.Operation{jsonpatch.NewOperation("remove", "/spec/caBundle", nil)}
	ofCRD := []jsonpatch.Operation{jsonpatch.NewOperation("remove", "/spec/conversion/webhook", nil)}
	for sentence, test := range map[string]struct {
		kind     Kind
		now, old string
		want     []jsonpatch.Operation
	}{
		"an APIService that skips verification": {APIService, annotated + `"spec":{"caBundle":"Q0E=","insecureSkipTLSVerify":true,"service":{"name":"a"}}}`, annotated + service, ofAPIService},
		"one that loses its service":            {APIService, annotated + `"spec":{"caBundle":"Q0E="}}`, annotated + service, ofAPIService},
		"one that loses its annotation as well": {APIService, unannotated + `"spec":{"caBundle":"Q0E="}}`, annotated + service, ofAPIService},
		"one whose annotation is misspelt":      {APIService, misspelt + `"spec":{"caBundle":"Q0E=","service":null}}`, misspelt + service, ofAPIService},
		"one that gets its annotation now":      {APIService, annotated + `"spec":{"caBundle":"Q0E="}}`, unannotated + service, ofAPIService},
		"one that goes on with its service":     {APIService, annotated + service, annotated + service, nil},
		"one that never asked":                  {APIService, unannotated + `"spec":{"caBundle":"Q0E="}}`, unannotated + service, nil},
		"one that changes its caBundle":         {APIService, annotated + `"spec":{"caBundle":"Q0I="}}`, annotated + service, nil},
		"one that holds none":                   {APIService, annotated + `"spec":{}}`, annotated + service, nil},
		"one that never held one":               {APIService, annotated + `"spec":{}}`, annotated + `"spec":{"service":{"name":"a"}}}`, nil},

		"a CRD of which the caBundle is left":       {CustomResourceDefinition, annotated + left, annotated + converts, ofCRD},
		"without a strategy, and empty lists":       {CustomResourceDefinition, unannotated + `"spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":"Q0E=","service":null},"conversionReviewVersions":[]}}}}`, annotated + converts, ofCRD},
		"a CRD that converts":                       {CustomResourceDefinition, annotated + converts, annotated + converts, nil},
		"a CRD of which the service is left, too":   {CustomResourceDefinition, annotated + `"spec":{"conversion":{"strategy":"None","webhook":{"clientConfig":{"caBundle":"Q0E=","service":{"name":"a"}}}}}}`, annotated + converts, nil},
		"a CRD of which the url is left, too":       {CustomResourceDefinition, annotated + `"spec":{"conversion":{"strategy":"None","webhook":{"clientConfig":{"caBundle":"Q0E=","url":"https://a"}}}}}`, annotated + converts, nil},
		"a CRD of which the versions are left, too": {CustomResourceDefinition, annotated + `"spec":{"conversion":{"strategy":"None","webhook":{"clientConfig":{"caBundle":"Q0E="},"conversionReviewVersions":["v1"]}}}}`, annotated + converts, nil},
		"a CRD without conversion":                  {CustomResourceDefinition, annotated + `"spec":{}}`, annotated + converts, nil},
		"a CRD that never asked":                    {CustomResourceDefinition, unannotated + left, unannotated + converts, nil},

		"a webhook configuration": {ValidatingWebhookConfiguration, annotated + `"webhooks":[]}`, annotated + `"webhooks":[{"clientConfig":{"caBundle":"Q0E="}}]}`, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			patch, message := TakeAway(test.kind, []byte(test.now), []byte(test.old))
			if diff := cmp.Diff(test.want, patch); diff != "" {
				t.Error(diff)
			}
			if (message != "") != (len(test.want) > 0) {
				t.Errorf("it says %q", message)
			}
		})
	}
}
