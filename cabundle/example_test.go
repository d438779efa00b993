package cabundle_test

import (
	"fmt"
	"time"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

// Two replicas see different parts of two rotations. What they know together is the same, in whichever order they are told.
func ExampleHistory() {
	now := time.Now()
	holds := func(version int64, name string) cabundle.Reading {
		return cabundle.Reading{Version: version, Bundle: cabundle.ParseExisting(cabundletest.CA(name, now.Add(-time.Hour), now.Add(24*time.Hour)))}
	}
	one, two, three := holds(7, "one"), holds(9, "two"), holds(12, "three")

	a := cabundle.History{}.Observe(now, one).Observe(now, two)
	b := cabundle.History{}.Observe(now, one).Observe(now, three) // it was frozen in between

	for _, both := range []cabundle.History{a.Merge(b), b.Merge(a)} {
		for _, certificate := range both.Bundle(now).Certificates() {
			fmt.Print(certificate.Subject.CommonName, " ")
		}
		fmt.Println("are published, and", both.Current().Certificates()[0].Subject.CommonName, "is what the source has")
	}
	// Output:
	// one two three are published, and three is what the source has
	// one two three are published, and three is what the source has
}

func ExampleReferenceOf() {
	ref, _, _ := cabundle.ReferenceOf(map[string]string{cabundle.InjectCAFromAnnotation: "team-a/webhook"})
	fmt.Println(ref, "is published as", ref.PublishedName())

	_, _, problem := cabundle.ReferenceOf(map[string]string{cabundle.InjectCAFromAnnotation: "webhook"})
	fmt.Println(problem.Message())
	// Output:
	// certificate/team-a/webhook is published as certificate.team-a.webhook
	// caBundle not injected: annotation cert-manager.io/inject-ca-from: "webhook" has no slash (write it as namespace/name); caject leaves the object as it is until it changes
}
