package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes one report as one line of JSON.
func JSON(w io.Writer, r *Report) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(safeJSON(b.Bytes()))
	return err
}
