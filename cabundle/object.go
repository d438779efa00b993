package cabundle

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
)

// Object is what the rules need to know of a target, taken out of its JSON. CRDs reach megabytes, so nothing else of
// them is decoded.
type Object struct {
	Target
	UID             string
	ResourceVersion string
	// Generation counts the changes of the spec; APIServices have none (0).
	Generation int64
	// Annotations holds only those that ask for injection.
	Annotations map[string]string
	// Deleting is true once the object has a deletionTimestamp.
	Deleting bool
	// Fields are the places for a caBundle; empty if NotInjectable.
	Fields []Field
	// NotInjectable says why the object cannot take a caBundle, or nothing if it can.
	NotInjectable string
	// Managers are those of metadata.managedFields. ParseObject leaves them out: see ParseManagers.
	Managers []Manager
	// Size is the length of the object's JSON in bytes.
	Size int
}

// Field is one place in an object that takes a caBundle.
type Field struct {
	// Path is the JSON pointer (RFC 6901) to the caBundle.
	Path string
	// Webhook is the name of the webhook that the field belongs to; empty for CRDs and APIServices.
	Webhook string
	// CABundle is what the field holds, decoded from base64; nil if it is absent or not base64.
	CABundle []byte
}

// ParseObject reads an object of the given kind from its JSON, as the API server sends it in an AdmissionReview or
// answers a GET. The caller has checked that raw is valid JSON (both decoders of the API machinery do).
func ParseObject(kind Kind, raw []byte) Object {
	metadata := gjson.GetBytes(raw, "metadata")
	object := Object{
		Target:          Target{Kind: kind, Name: metadata.Get("name").String()},
		UID:             metadata.Get("uid").String(),
		ResourceVersion: metadata.Get("resourceVersion").String(),
		Generation:      metadata.Get("generation").Int(),
		Annotations:     map[string]string{},
		Deleting:        metadata.Get("deletionTimestamp").Type == gjson.String,
		Size:            len(raw),
	}
	// Only the value of a wanted key is unescaped: last-applied-configuration can be as large as the object.
	metadata.Get("annotations").ForEach(func(key, value gjson.Result) bool {
		if name := key.String(); AsksForInjection(name) {
			object.Annotations[name] = value.String()
		}
		return true
	})
	switch kind {
	case MutatingWebhookConfiguration, ValidatingWebhookConfiguration:
		object.Fields = webhookFields(gjson.GetBytes(raw, "webhooks"))
		if len(object.Fields) == 0 {
			object.NotInjectable = "it has no webhooks"
		}
	case CustomResourceDefinition:
		object.Fields, object.NotInjectable = conversionField(gjson.GetBytes(raw, "spec.conversion"))
	case APIService:
		object.Fields, object.NotInjectable = apiServiceField(gjson.GetBytes(raw, "spec"))
	}
	return object
}

// webhookFields returns a field for every webhook, those with clientConfig.url too.
func webhookFields(webhooks gjson.Result) []Field {
	if !webhooks.IsArray() { // gjson takes anything else for a list of one, and a patch of that would be a bad one
		return nil
	}
	var fields []Field
	for i, webhook := range webhooks.Array() {
		if clientConfig := webhook.Get("clientConfig"); clientConfig.IsObject() {
			fields = append(fields, Field{
				Path:     "/webhooks/" + strconv.Itoa(i) + "/clientConfig/caBundle",
				Webhook:  webhook.Get("name").String(),
				CABundle: decode(clientConfig.Get("caBundle")),
			})
		}
	}
	return fields
}

func conversionField(conversion gjson.Result) ([]Field, string) {
	if strategy := conversion.Get("strategy").String(); strategy != "Webhook" {
		return nil, "its conversion strategy is not Webhook"
	}
	clientConfig := conversion.Get("webhook.clientConfig")
	if !clientConfig.IsObject() {
		return nil, "its conversion webhook has no clientConfig"
	}
	return []Field{{
		Path:     "/spec/conversion/webhook/clientConfig/caBundle",
		CABundle: decode(clientConfig.Get("caBundle")),
	}}, ""
}

// apiServiceField returns none where the API server would refuse a caBundle.
func apiServiceField(spec gjson.Result) ([]Field, string) {
	switch {
	case !spec.Get("service").IsObject():
		return nil, "it has no service"
	case spec.Get("insecureSkipTLSVerify").Bool():
		return nil, "it has insecureSkipTLSVerify"
	}
	return []Field{{Path: "/spec/caBundle", CABundle: decode(spec.Get("caBundle"))}}, ""
}

func decode(caBundle gjson.Result) []byte {
	if caBundle.Type != gjson.String {
		return nil
	}
	decoded, err := base64.StdEncoding.DecodeString(caBundle.String())
	if err != nil {
		return nil
	}
	return decoded
}

// NotInjectableProblem returns why o cannot take a caBundle, or nil if it can.
func (o Object) NotInjectableProblem() *Problem {
	if o.NotInjectable == "" {
		return nil
	}
	return &Problem{
		Reason: NotInjectable,
		Detail: fmt.Sprintf("%s cannot take a caBundle: %s", o.Target, o.NotInjectable),
		Remedy: "remove the annotation, or change that",
	}
}
