package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// wrong is what is wrong with a document, and in which line of its file.
type wrong struct {
	line int
	text string
}

// jsonValues returns the JSON values that d is made of.
func (d document) jsonValues() ([]document, *wrong) {
	var values []document
	decoder := json.NewDecoder(bytes.NewReader(d.text))
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			offset := int(decoder.InputOffset())
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				offset = int(syntax.Offset)
			}
			return nil, &wrong{d.lineAt(offset), err.Error()}
		}
		begins := int(decoder.InputOffset()) - len(raw)
		value := document{line: d.lineAt(begins), text: raw}
		if key, at := twice(raw); key != "" {
			return nil, &wrong{value.lineAt(at), fmt.Sprintf("key %q stands there twice", key)}
		}
		values = append(values, value)
	}
}

// twice returns the first key that an object in raw, which is valid JSON, has twice, and the offset behind it; or nothing.
func twice(raw []byte) (key string, at int) {
	type level struct {
		keys  map[string]bool // nil in a list
		value bool            // the next token is a value
	}
	var levels []*level
	decoder := json.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := decoder.Token()
		if err != nil {
			return "", 0
		}
		var inside *level
		if len(levels) > 0 {
			inside = levels[len(levels)-1]
		}
		if name, ok := token.(string); ok && inside != nil && inside.keys != nil && !inside.value {
			if inside.keys[name] {
				return name, int(decoder.InputOffset())
			}
			inside.keys[name], inside.value = true, true
			continue
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, &level{keys: map[string]bool{}})
			continue
		case json.Delim('['):
			levels = append(levels, &level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		if len(levels) > 0 {
			levels[len(levels)-1].value = false
		}
	}
}
