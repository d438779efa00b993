package cabundle

import (
	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
)

// TakeAway returns the JSON patch that removes what is left of a caBundle from an object that cannot hold it any more, and in one line
// what it removes, and why; both are empty if there is nothing to remove. raw is the JSON of the object, old that of the object before the
// update.
//
// Nobody owns an injected caBundle, so it stays behind where an APIService is not called through its service over TLS any more, and the API
// server refuses that; or where a CRD does not convert by webhook any more, and an update by server-side apply leaves nothing but the
// caBundle. One that the update changes is somebody's, as is one of an object that neither asks for injection nor did so before.
// The chart's policies do the same (keep.yaml).
func TakeAway(kind Kind, raw, old []byte) (patch []jsonpatch.Operation, message string) {
	path, which := "", ""
	switch kind {
	case APIService:
		now := gjson.GetBytes(raw, "spec")
		unused := !now.Get("service").IsObject() || now.Get("insecureSkipTLSVerify").Bool()
		if unused && unchanged(raw, old, "spec.caBundle") {
			path, which = "/spec/caBundle", "an APIService without service, or with insecureSkipTLSVerify"
		}
	case CustomResourceDefinition:
		conversion := gjson.GetBytes(raw, "spec.conversion")
		if !isWebhook(conversion.Get("strategy")) && nothingElse(conversion.Get("webhook")) && unchanged(raw, old, "spec.conversion.webhook.clientConfig.caBundle") {
			path, which = "/spec/conversion/webhook", "a CustomResourceDefinition without conversion webhook"
		}
	}
	if path == "" || !asks(raw) && !asks(old) {
		return nil, ""
	}
	return []jsonpatch.Operation{jsonpatch.NewOperation("remove", path, nil)},
		"caBundle removed: " + which + " cannot hold one (remove the annotation, too, if there is one)"
}

// asks reports whether the object asks for injection.
func asks(raw []byte) bool {
	_, asks, _ := ReferenceOf(annotationsOf(gjson.GetBytes(raw, "metadata"), AsksForInjection))
	return asks
}

// unchanged reports whether there is a caBundle at path, the same as before.
func unchanged(raw, old []byte, path string) bool {
	now := gjson.GetBytes(raw, path).String()
	return now != "" && now == gjson.GetBytes(old, path).String()
}

// nothingElse reports whether the conversion webhook of a CRD holds nothing but a caBundle.
func nothingElse(webhook gjson.Result) bool {
	client := webhook.Get("clientConfig")
	return !client.Get("service").IsObject() && client.Get("url").String() == "" && len(webhook.Get("conversionReviewVersions").Array()) == 0
}
