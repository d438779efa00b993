package cabundle

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"gomodules.xyz/jsonpatch/v2"
)

// Object is what the rules need to know of a target, taken out of its JSON. CRDs reach megabytes, so nothing else of
// them is decoded.
type Object struct {
	Target
	UID             string
	ResourceVersion string
	// Generation counts the changes of the spec; APIServices have none (0).
	Generation int64
	// Annotations holds only those that ask for injection, or were meant to: see MisspeltAnnotation.
	Annotations map[string]string
	// Created is when the object was created; zero if it was not yet. ParseObject leaves it out: admission has no use for it.
	Created time.Time
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
	// Webhook is the name of the webhook that the field belongs to; empty for kinds that have one caBundle.
	Webhook string
	// CABundle is what the field holds, decoded from base64; nil if it is absent or not base64.
	CABundle []byte
	// Service is namespace/name of the Service whose certificate the caBundle is for; empty if that is a URL.
	Service string
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
		Annotations: annotationsOf(metadata, func(key string) bool {
			return DecidesInjection(key) || misspeltSource.MatchString(key)
		}),
		Deleting: metadata.Get("deletionTimestamp").Type == gjson.String,
		Size:     len(raw),
	}
	object.Fields, object.NotInjectable = kind.row().read(raw)
	return object
}

// annotationsOf returns the wanted annotations in the JSON of an object's metadata. Only their values are unescaped:
// last-applied-configuration can be as large as the object.
func annotationsOf(metadata gjson.Result, wanted func(key string) bool) map[string]string {
	annotations := map[string]string{}
	metadata.Get("annotations").ForEach(func(key, value gjson.Result) bool {
		if name := key.String(); wanted(name) {
			annotations[name] = value.String()
		}
		return true
	})
	return annotations
}

// read returns the places for a caBundle in the JSON of an object of r's kind, or says why there are none.
func (r *row) read(raw []byte) (fields []Field, notInjectable string) {
	part := gjson.GetBytes(raw, r.part)
	for _, need := range r.needs {
		if !need.met(part.Get(need.path[len(r.part)+len("."):])) {
			return nil, need.words
		}
	}
	if fields = r.fields(part, r.part, r.caBundle[len(r.part):], ""); len(fields) == 0 {
		return nil, r.none
	}
	return fields, ""
}

// fields returns the places for a caBundle in value, which is found at the path at; rest leads from there to them, and item is the
// name of the list's item that value is in.
func (r *row) fields(value gjson.Result, at, rest, item string) []Field {
	names, rest, isList := strings.Cut(rest, "[]")
	if isList {
		if names != "" {
			value, at = value.Get(names[len("."):]), at+names
		}
		if !value.IsArray() { // gjson takes anything else for a list of one, and a patch of that would be a bad one
			return nil
		}
		var fields []Field
		for i, element := range value.Array() {
			fields = append(fields, r.fields(element, at+"."+strconv.Itoa(i), rest, element.Get(r.itemName).String())...)
		}
		return fields
	}
	last := strings.LastIndexByte(names, '.')
	if last > 0 {
		value = value.Get(names[len("."):last])
	}
	if !value.IsObject() {
		return nil
	}
	return []Field{{
		Path:     "/" + strings.ReplaceAll(at+names, ".", "/"), // no name in it has anything to escape
		Webhook:  item,
		CABundle: decode(value.Get(names[last+len("."):])),
		Service:  serviceOf(value.Get("service")),
	}}
}

// serviceOf returns namespace/name of what stands beside a caBundle, in all kinds under the same name.
func serviceOf(service gjson.Result) string {
	namespace, name := service.Get("namespace").String(), service.Get("name").String()
	if namespace == "" || name == "" {
		return ""
	}
	return namespace + "/" + name
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
	}
}

// Asks reports whether o asks for injection, or was meant to: see MisspeltAnnotation.
func (o Object) Asks() bool {
	_, annotated, _ := ReferenceOf(o.Annotations)
	misspelt, _ := MisspeltAnnotation(o.Annotations)
	return annotated || misspelt != ""
}

// HoldsNone reports whether no field that patch changes holds a certificate.
func (o Object) HoldsNone(patch []jsonpatch.Operation) bool {
	return !slices.ContainsFunc(o.Fields, func(field Field) bool {
		changed := slices.ContainsFunc(patch, func(operation jsonpatch.Operation) bool { return operation.Path == field.Path })
		return changed && !ParseExisting(field.CABundle).Empty()
	})
}
