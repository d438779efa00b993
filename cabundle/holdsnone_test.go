package cabundle

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caject/caject/cabundle/cabundletest"
)

func TestWhatHoldsNoCertificate(t *testing.T) {
	for sentence, test := range cabundletest.Held(time.Now()) {
		t.Run(sentence, func(t *testing.T) {
			if got := ParseExisting(test.CABundle).Empty(); got != test.Empty {
				t.Errorf("without a certificate: %v", got)
			}
			if got := holdsNone(base64.StdEncoding.EncodeToString(test.CABundle)); got != (test.Empty && !test.Lines) {
				t.Errorf("a policy takes it for one without a certificate: %v", got)
			}
		})
	}
}

// TestAPolicyLosesNoCertificate: whatever stands around certificates, or becomes of them, a policy takes nothing for a placeholder that
// holds one.
func TestAPolicyLosesNoCertificate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() []byte {
		text := make([]byte, random.IntN(7))
		for i := range text {
			text[i] = "\n\r -=#aZ0\x00\xff"[random.IntN(11)]
		}
		return text
	}
	certificate := cabundletest.CA("certificate", time.Now(), time.Now().Add(time.Hour))
	certificates := 0
	for range 20_000 {
		var caBundle []byte
		for range random.IntN(3) {
			caBundle = append(append(caBundle, text()...), certificate...)
		}
		caBundle = append(caBundle, text()...)
		if len(caBundle) > 0 && random.IntN(2) == 0 {
			caBundle[random.IntN(len(caBundle))] = byte(random.IntN(256))
		}
		if ParseExisting(caBundle).Empty() {
			continue
		}
		certificates++
		if holdsNone(base64.StdEncoding.EncodeToString(caBundle)) {
			t.Fatalf("it is taken for a placeholder: %q", caBundle)
		}
	}
	if certificates < 2000 {
		t.Errorf("only %d of them held a certificate", certificates)
	}
}

// TestTheLinesAreSpelledRight: the spellings of a line are what base64 makes of it, for each place that it can begin at.
func TestTheLinesAreSpelledRight(t *testing.T) {
	for line, spellings := range map[string][]string{
		"-----BEGIN CERTIFICATE-----": firstLines,
		"-----END CERTIFICATE-----":   lastLines,
	} {
		for place, spelling := range spellings {
			for _, around := range []byte{0, 0xff} {
				before := bytes.Repeat([]byte{around}, place)
				text := base64.StdEncoding.EncodeToString(slices.Concat(before, []byte(line), bytes.Repeat([]byte{around}, 3)))
				first := []int{0, 2, 3}[place]
				if got := text[first : (place+len(line))*8/6]; got != spelling {
					t.Errorf("%s is spelled %s at %d, not %s", line, got, place, spelling)
				}
			}
		}
	}
}

// TestTheChartKnowsWhatHoldsNoCertificate: the expression of the policies has our spellings, and knows a plain bundle by its ends.
func TestTheChartKnowsWhatHoldsNoCertificate(t *testing.T) {
	text := templates(t)["_cel.tpl"]
	if diff := cmp.Diff(slices.Sorted(slices.Values(slices.Concat(firstLines, lastLines))), found(`contains\('([^']*)'\)`, text)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(firstLines[:1], found(`startsWith\('([^']*)'\)`, text)); diff != "" {
		t.Error(diff)
	}
	ends := regexp.MustCompile(`endsWith\('([^']*)'\)`).FindAllStringSubmatch(text, -1)
	for length := range 3 {
		plain := append(bytes.Repeat([]byte{'\n'}, length), "-----END CERTIFICATE-----\n"...)
		matched := slices.ContainsFunc(ends, func(end []string) bool {
			return bytes.HasSuffix([]byte(base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{'\n'}, 3), plain...))), []byte(end[1]))
		})
		if !matched {
			t.Errorf("a bundle that is %d bytes longer is not known by its end", length)
		}
	}
	if len(ends) != 3 {
		t.Errorf("%d ends", len(ends))
	}
}
