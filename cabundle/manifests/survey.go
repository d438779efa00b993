package manifests

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/audit"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/survey"
)

// Survey judges, at now, those of objects that ask for a caBundle. Sources that name no namespace are in the given one. The error
// names a source that the API server would refuse.
func Survey(now time.Time, objects []Object, namespace string) (targets []survey.Finding, beside *audit.Manifests, err error) {
	sources, err := sourcesOf(objects, namespace)
	if err != nil {
		return nil, nil, err
	}
	reader := cluster.NewSources(sources, cabundle.Scope{}, func() ([]byte, error) { return nil, errors.New("it is not among the manifests") })
	beside = &audit.Manifests{Made: map[cabundle.Reference]bool{}}
	targets = []survey.Finding{}
	for _, one := range objects {
		kind, ok := cabundle.KindOf(one.Group, one.Kind)
		if !ok {
			continue
		}
		object := cabundle.ParseObject(kind, one.Raw)
		if !object.Asks() {
			continue
		}
		var known survey.Known
		if ref, annotated, problem := cabundle.ReferenceOf(object.Annotations); annotated && problem == nil {
			known = sources.read(reader, ref)
			beside.Made[ref] = sources.makes(ref)
		}
		targets = append(targets, survey.Judge(now, object, known))
		beside.Places = append(beside.Places, one.Where)
		beside.Broken = append(beside.Broken, broken(object, one.Raw))
	}
	return targets, beside, nil
}

// read returns what is known of a source: where its Secret is not there, what a CABundle shows of it.
func (s *sources) read(reader *cluster.Sources, ref cabundle.Reference) survey.Known {
	known := survey.Known{Reading: reader.Read(context.Background(), ref, cluster.Consistent), Published: s.published[ref.String()]}
	if problem := known.Reading.Problem; problem != nil && problem.Reason == cabundle.SourceNotFound && known.Published != nil {
		known.Reading = survey.Announced(known.Published)
	}
	return known
}

// broken returns the webhooks of object whose caBundle is not base64; "" for a kind with one caBundle.
func broken(object cabundle.Object, raw []byte) []string {
	var webhooks []string
	for _, field := range object.Fields {
		value := gjson.GetBytes(raw, strings.ReplaceAll(strings.TrimPrefix(field.Path, "/"), "/", "."))
		if _, err := base64.StdEncoding.DecodeString(value.String()); value.Exists() && value.Type != gjson.Null && (value.Type != gjson.String || err != nil) {
			webhooks = append(webhooks, field.Webhook)
		}
	}
	return webhooks
}
