package cabundle

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDisown(t *testing.T) {
	bundle := metav1.NewFieldsV1(`{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`)
	other := metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:caBundle.example.com":{}}}}`)
	both := metav1.NewFieldsV1(`{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{},"f:url":{}}}}}`)
	entry := func(manager string, operation metav1.ManagedFieldsOperationType, fields *metav1.FieldsV1) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsType: "FieldsV1", FieldsV1: fields}
	}
	helm, injector := entry("helm", metav1.ManagedFieldsOperationApply, bundle), "injector"
	tests := map[string]struct{ before, after []metav1.ManagedFieldsEntry }{
		"nobody owns anything":           {nil, nil},
		"the only one stays":             {[]metav1.ManagedFieldsEntry{entry(injector, metav1.ManagedFieldsOperationUpdate, bundle)}, []metav1.ManagedFieldsEntry{entry(injector, metav1.ManagedFieldsOperationUpdate, bundle)}},
		"others stay":                    {[]metav1.ManagedFieldsEntry{helm}, []metav1.ManagedFieldsEntry{helm}},
		"what it owns beside a caBundle": {[]metav1.ManagedFieldsEntry{entry(injector, metav1.ManagedFieldsOperationUpdate, other)}, []metav1.ManagedFieldsEntry{entry(injector, metav1.ManagedFieldsOperationUpdate, other)}},
		"who owns a caBundle among other things": {
			[]metav1.ManagedFieldsEntry{helm, entry(injector, metav1.ManagedFieldsOperationUpdate, both)},
			[]metav1.ManagedFieldsEntry{helm, entry(injector, metav1.ManagedFieldsOperationUpdate, both)},
		},
		"Apply and Update, among others": {
			[]metav1.ManagedFieldsEntry{entry(injector, metav1.ManagedFieldsOperationApply, bundle), helm, entry(injector, metav1.ManagedFieldsOperationUpdate, bundle), entry("x", metav1.ManagedFieldsOperationUpdate, other)},
			[]metav1.ManagedFieldsEntry{helm, entry("x", metav1.ManagedFieldsOperationUpdate, other)},
		},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			object := validating([]byte("x"))
			object.ManagedFields = test.before
			raw, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			got := apply(t, object, Disown(ParseManagers(ValidatingWebhookConfiguration, raw), injector, "other"))
			object.ManagedFields = test.after
			if diff := cmp.Diff(toJSON(t, object), got); diff != "" && !(len(test.after) == 0 && len(test.before) == 0) {
				t.Error(diff)
			}
		})
	}
}

func TestWhatAManagerOwns(t *testing.T) {
	const schema = `"f:versions":{"k:{\"name\":\"v1\"}":{"f:schema":{"f:properties":{"f:caBundle":{},"f:clientConfig":{"f:caBundle":{}}}}}}`
	tests := map[string]struct {
		kind             Kind
		fields           string
		caBundle, others bool
	}{
		"a webhook's caBundle alone":            {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`, true, false},
		"of several webhooks":                   {MutatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{}}},"k:{\"name\":\"b\"}":{"f:clientConfig":{"f:caBundle":{}}}}}`, true, false},
		"an applied webhook with its name":      {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:clientConfig":{"f:caBundle":{}}}}}`, true, false},
		"a webhook's caBundle and url":          {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{},"f:url":{}}}}}`, true, true},
		"the caBundle of one, another's url":    {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{"f:caBundle":{}}},"k:{\"name\":\"b\"}":{"f:clientConfig":{"f:url":{}}}}}`, true, true},
		"a webhook that is called f:caBundle":   {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"f:caBundle\"}":{"f:clientConfig":{"f:url":{}}}}}`, false, true},
		"an annotation that is called caBundle": {ValidatingWebhookConfiguration, `{"f:metadata":{"f:annotations":{"f:caBundle":{}}}}`, false, true},
		"a clientConfig with nothing in it":     {ValidatingWebhookConfiguration, `{"f:webhooks":{"k:{\"name\":\"a\"}":{"f:clientConfig":{}}}}`, false, true},
		"a caBundle where this kind has none":   {ValidatingWebhookConfiguration, `{"f:spec":{"f:caBundle":{}}}`, false, true},
		"a CRD's caBundle":                      {CustomResourceDefinition, `{"f:spec":{"f:conversion":{"f:webhook":{"f:clientConfig":{"f:caBundle":{}}}}}}`, true, false},
		"a CRD's property that is called so":    {CustomResourceDefinition, `{"f:spec":{` + schema + `}}`, false, true},
		"both":                                  {CustomResourceDefinition, `{"f:spec":{"f:conversion":{"f:webhook":{"f:clientConfig":{".":{},"f:caBundle":{}}}},` + schema + `}}`, true, true},
		"an APIService's caBundle":              {APIService, `{"f:spec":{"f:caBundle":{}}}`, true, false},
		"its label as well":                     {APIService, `{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:caBundle":{}}}`, true, true},
		"a name is not free where no list is":   {APIService, `{"f:spec":{"f:caBundle":{},"f:name":{}}}`, true, true},
		"nothing":                               {APIService, `{}`, false, true},
		"what is no set of fields":              {APIService, `[{"f:spec":1}]`, false, true},
		"a kind without caBundle owns none":     {"Secret", `{"f:spec":{"f:caBundle":{}}}`, false, true},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			raw := []byte(`{"metadata":{"managedFields":[{"manager":"a","operation":"Apply","subresource":"status","time":"2026-06-01T12:00:00Z","fieldsV1":` + test.fields + `}]}}`)
			want := []Manager{{Name: "a", Operation: metav1.ManagedFieldsOperationApply, Subresource: "status", Time: now, CABundle: test.caBundle, Others: test.others}}
			if diff := cmp.Diff(want, ParseManagers(test.kind, raw)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLastManager(t *testing.T) {
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	tests := map[string]struct {
		managers []Manager
		want     string
	}{
		"nobody is known":        {nil, "unknown"},
		"caject is not meant":    {[]Manager{{Name: FieldManager, Time: at(1), CABundle: true}}, "unknown"},
		"nor who has no time":    {[]Manager{{Name: "a", CABundle: true}}, "unknown"},
		"nor who wrote a status": {[]Manager{{Name: "a", Time: at(1), Subresource: "status", CABundle: true}}, "unknown"},
		"the last who set a caBundle": {[]Manager{
			{Name: "a", Time: at(1), CABundle: true}, {Name: "b", Time: at(2), CABundle: true},
			{Name: "c", Time: at(3)}, {Name: FieldManager, Time: at(4), CABundle: true},
		}, "b"},
		"whatever the order": {[]Manager{
			{Name: "c", Time: at(3)}, {Name: "b", Time: at(2), CABundle: true}, {Name: "a", Time: at(1), CABundle: true},
		}, "b"},
		"if none did, the last who wrote": {[]Manager{
			{Name: "a", Time: at(1)}, {Name: "b", Time: at(2)}, {Name: "c", Time: at(3), Subresource: "status"},
		}, "b"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			if got := LastManager(test.managers); got != test.want {
				t.Errorf("it is %q, not %q", got, test.want)
			}
		})
	}
}
