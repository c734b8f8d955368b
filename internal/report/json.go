package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes one report as one line of JSON.
func JSON(w io.Writer, r *Report) error { return JSONLine(w, r) }

// JSONLine writes any value as one line of JSON in which nothing stands that a
// terminal would obey.
func JSONLine(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(SafeJSON(b.Bytes()))
	return err
}
