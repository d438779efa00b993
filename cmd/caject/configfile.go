package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// maxConfigBytes is the most that a configuration file may have: what fits into a ConfigMap.
const maxConfigBytes = 1 << 20

// readConfigFile sets those of flags that the CAInjectorConfiguration (YAML or JSON) at path names. Flags of the command line
// take precedence. It returns for each flag that it set where the value stands, for error messages: "path: field".
// Its own errors, joined, name the file and the field.
func readConfigFile(path string, flags *pflag.FlagSet) (map[string]string, error) {
	content, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := yaml.UnmarshalStrict(content, &document); err != nil {
		return nil, fmt.Errorf("%s: cannot be read as YAML: %w", path, err)
	}
	for _, header := range [][2]string{{"apiVersion", configAPIVersion}, {"kind", configKind}} {
		field, want := header[0], header[1]
		if got := document[field]; got != want {
			return nil, fmt.Errorf("%s: %s: %v is not %s", path, field, quoted(got), want)
		}
		delete(document, field)
	}
	set := map[string]string{}
	return set, setFields(path, "", document, func(field string, value any) error {
		name, known := fieldFlags[field]
		switch {
		case !known:
			return errors.New("unknown field")
		case flags.Changed(name): // the command line takes precedence
			return nil
		}
		set[name] = path + ": " + field
		return setFlag(flags.Lookup(name), value)
	})
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxConfigBytes {
		return nil, fmt.Errorf("%s: has more than %d bytes", path, maxConfigBytes)
	}
	return content, nil
}

// setFields calls set with the path and value of each field of object, those of the objects within it included. Fields
// without a value (null) count as absent.
func setFields(file, prefix string, object map[string]any, set func(field string, value any) error) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field, value := prefix+key, object[key]
		if value == nil {
			continue
		}
		if isObject(field) {
			nested, ok := value.(map[string]any)
			if !ok {
				errs = append(errs, fmt.Errorf("%s: %s: an object is needed", file, field))
			}
			errs = append(errs, setFields(file, field+".", nested, set))
			continue
		}
		if err := set(field, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", file, field, err))
		}
	}
	return errors.Join(errs...)
}

// isObject reports whether there are fields within field.
func isObject(field string) bool {
	for known := range fieldFlags {
		if strings.HasPrefix(known, field+".") {
			return true
		}
	}
	return false
}

// typeWords are the types of pflag in words.
var typeWords = map[string]string{
	"string":         "a text",
	"bool":           "true or false",
	"int":            "a whole number",
	"duration":       "a duration such as 60s",
	"stringSlice":    "a list",
	"stringToString": "an object",
}

// setFlag gives flag a value of the file. Numbers for durations are nanoseconds.
func setFlag(flag *pflag.Flag, value any) error {
	var text string
	switch kind := flag.Value.Type(); v := value.(type) {
	case string:
		text = v
	case map[string]any:
		if kind != "stringToString" {
			return fmt.Errorf("%s is needed, not an object", typeWords[kind])
		}
		if len(v) == 0 {
			return nil
		}
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, fmt.Sprintf("%s=%v", key, v[key]))
		}
		text = strings.Join(pairs, ",")
	case []any:
		list, ok := flag.Value.(pflag.SliceValue)
		if !ok {
			return fmt.Errorf("%s is needed, not a list", typeWords[kind])
		}
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
		return list.Replace(items)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
		if kind == "duration" {
			text = time.Duration(v).String()
		}
	case bool:
		text = strconv.FormatBool(v)
	}
	if err := flag.Value.Set(text); err != nil {
		return fmt.Errorf("%q is not %s", text, typeWords[flag.Value.Type()])
	}
	return nil
}

// quoted returns v as it is to appear in an error message.
func quoted(v any) string {
	if v == nil {
		return "nothing"
	}
	return strconv.Quote(fmt.Sprint(v))
}
