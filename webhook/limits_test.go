package webhook

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/metrics"
)

// serve serves an Injector over TLS and HTTP/2, as to the API server.
func serve(t *testing.T, s sourceReader) *httptest.Server {
	t.Helper()
	injector := NewInjector(cabundle.Kinds(), fakeLedger{}, s, metrics.New(prometheus.NewRegistry()), clock.RealClock{})
	server := httptest.NewUnstartedServer(NewServer(ServerOptions{}).chain(injector))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// status posts body, and returns the status of the answer.
func status(t *testing.T, server *httptest.Server, query string, body io.Reader) int {
	t.Helper()
	response, err := server.Client().Post(server.URL+InjectPath+query, "application/json", body)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	if retry := response.Header.Get("Retry-After"); retry != "" {
		t.Errorf("Retry-After is %q: the API server would call again", retry)
	}
	return response.StatusCode
}

func TestABodyThatSaysItIsTooLargeIsNotRead(t *testing.T) {
	server := serve(t, &fakeSource{ca: newCA})
	if got := status(t, server, "", bytes.NewReader(make([]byte, maxReviewBytes+1))); got != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", got)
	}
}

// TestALargeReviewIsAnswered is about a CRD of the size that etcd can hold, and its former version.
func TestALargeReviewIsAnswered(t *testing.T) {
	object := crd(annotated, nil)
	object.Labels = map[string]string{"filler": strings.Repeat("x", 1_400_000)}
	r := request(t, cabundle.CustomResourceDefinition, object, object)
	server := serve(t, &fakeSource{ca: newCA})
	if got := status(t, server, "?timeout=30s", bytes.NewReader(encodeReview(t, r))); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
}

// TestWhoFindsNoRoomIsRefused holds all the room with sources that do not answer.
func TestWhoFindsNoRoomIsRefused(t *testing.T) {
	const most = maxBytesInFlight / minReviewBytes
	entered, leave := make(chan struct{}, most), make(chan struct{})
	handler := withDeadline(withLimits(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
	})))
	post := func(query string, size int) int {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, InjectPath+query, bytes.NewReader(make([]byte, size))))
		return recorder.Code
	}
	var working sync.WaitGroup
	for range most {
		working.Go(func() {
			if got := post("?timeout=30s", 1000); got != http.StatusOK {
				t.Errorf("within the limit: status %d", got)
			}
		})
	}
	for range most {
		<-entered
	}
	if got := post("?timeout=200ms", 1000); got != http.StatusTooManyRequests {
		t.Errorf("over the limit: status %d", got)
	}
	waited := make(chan int)
	go func() { waited <- post("?timeout=30s", 1000) }()
	close(leave)
	if got := <-waited; got != http.StatusOK {
		t.Errorf("once there is room: status %d", got)
	}
	working.Wait()
	if got := post("?timeout=200ms", maxReviewBytes); got != http.StatusOK {
		t.Errorf("all the room is given back: status %d", got)
	}
}

// TestASlowBodyIsNotWaitedFor sends half of a request and no more.
func TestASlowBodyIsNotWaitedFor(t *testing.T) {
	none := func(cabundle.Reference) { t.Error("a hint") }
	server := httptest.NewServer(NewServer(ServerOptions{}).chain(NewHinter(none, none)))
	t.Cleanup(server.Close)
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "POST /hint?timeout=1s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := connection.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(connection); err != nil {
		t.Errorf("the server holds the connection: %v", err)
	}
}
