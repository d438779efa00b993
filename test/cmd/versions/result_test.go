package main

import (
	"strings"
	"testing"
)

// TestRead reads what two tests have said, one of them with a subtest.
func TestRead(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/b"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    versions_test.go:1: the API server is v1.30.14; policies fill no kind\n"}
{"Action":"pass","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
`
	got, err := read(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	if want := (result{server: "v1.30.14", policies: "no kind", tests: 2, passed: 1}); *got != want {
		t.Errorf("read %+v, not %+v", *got, want)
	}
	if _, err := read(strings.NewReader("{")); err == nil {
		t.Error("half an event is read")
	}
}
