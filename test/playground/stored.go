package playground

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// PutStored has etcd hold object past the API server, as JSON, the way a former version may have stored what is refused by now. key is
// that of the API server, such as validatingwebhookconfigurations/NAME; the object has kind, UID and creation time.
func (c *ControlPlane) PutStored(ctx context.Context, key string, object client.Object) error {
	value, err := json.Marshal(object)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string][]byte{"key": []byte("/registry/" + key), "value": value})
	if err != nil {
		return err
	}
	url := c.env.ControlPlane.Etcd.URL.JoinPath("v3", "kv", "put").String()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if answer, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("put %s: %s: %s (%v)", key, response.Status, answer, err)
	}
	return nil
}
